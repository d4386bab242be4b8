"""Where a recipe's model comes from: a package, a folder, an earlier run or the hub; ends in a folder."""

from pathlib import Path

from rankfold.earlier_runs import earlier_run, is_earlier_run, models_behind
from rankfold.errors import ModelError
from rankfold.hub_cache import find_snapshot, hub_cache, model_repository, not_fetched
from rankfold.modeling.packages import WHERE, checked, converted_folder, package_model
from rankfold.recipe.schema import PACKAGE_PREFIX, Model


def model_folder(model: Model) -> Path:
    """Return a local folder with the model's configuration, safetensors and tokenizer.

    Nothing is downloaded: a job has no network, and `launch submit` has fetched what it needs.

    Raises:
        ModelError: The package, folder, run or hub model is not here, or holds no safetensors.
    """
    name = model.name_or_path
    if is_earlier_run(name):
        return _from_run(model)
    if name.startswith(PACKAGE_PREFIX):
        return _from_package(name.removeprefix(PACKAGE_PREFIX))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return checked(folder, name)
    if name.startswith((".", "/", "~")):
        raise ModelError(
            f"there is no folder {folder}",
            where=WHERE,
            remedy="Name a folder that holds config.json and *.safetensors.",
        )
    return _from_hub(model)


def _from_run(model: Model) -> Path:
    from rankfold.modeling.earlier import trained_folder

    # From the first base up: each run's base is what the one before it left.
    chain = list(models_behind(model))
    ends_in_whole_model = is_earlier_run(chain[-1].name_or_path)
    folder = None if ends_in_whole_model else model_folder(chain.pop())
    for one in reversed(chain):
        folder = trained_folder(earlier_run(one.name_or_path), folder)
    if folder is None:
        raise ValueError(f"nothing is behind {model.name_or_path}")
    return folder


def _from_package(package: str) -> Path:
    found = package_model(package)
    if found.is_dir():
        return found
    target = converted_folder(found)
    if not target.is_dir():
        from rankfold.modeling.gguf import convert_gguf

        print(f"converting {found.name} to safetensors, once: {target}", flush=True)
        convert_gguf(found, target)
    return target


def _from_hub(model: Model) -> Path:
    repository = model_repository(model)
    if repository is None:
        raise ModelError(f"{model.name_or_path!r} is neither a folder nor a hub id", where=WHERE)
    snapshot = find_snapshot(repository, hub_cache())
    if snapshot is None:
        raise not_fetched(repository, hub_cache())
    return snapshot.folder

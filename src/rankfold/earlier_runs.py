"""Models that earlier runs left, found without torch: `run:FOLDER` in `model.name_or_path`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankfold.errors import ModelError, RankfoldError
from rankfold.recipe.load import load_recipe
from rankfold.recipe.schema import RUN_PREFIX, Model, Recipe
from rankfold.run_folder import RunFolder

ADAPTER_FILE = "adapter_config.json"
_WHERE = "model.name_or_path"


@dataclass(frozen=True)
class EarlierRun:
    """A run that has trained its model.

    Attributes:
        model_sha256: Hash of what it trained, an adapter or a whole model.
        base_sha256: Hash of the model that it started from.
        labels: Its labels, in the order of the head.
    """

    run: RunFolder
    recipe: Recipe
    model_sha256: str
    base_sha256: str
    labels: tuple[str, ...]

    @property
    def is_adapter(self) -> bool:
        return (self.run.model / ADAPTER_FILE).is_file()


def is_earlier_run(name: str) -> bool:
    """Whether a model's name means what a run trained."""
    return name.startswith(RUN_PREFIX)


def earlier_run(name: str) -> EarlierRun:
    """Find the run that `run:FOLDER` names.

    Raises:
        ModelError: There is no such run, it has not trained its model, or its files are damaged.
    """
    run = RunFolder(Path(name.removeprefix(RUN_PREFIX)).expanduser())
    if not run.recipe.is_file():
        raise ModelError(
            f"there is no run in {run.root}",
            where=_WHERE,
            remedy="Name the folder of a run, such as run:runs/2026-01-02_tiny.",
        )
    if not (run.train_summary.is_file() and run.model.is_dir()):
        raise ModelError(
            f"the run {run.run_id} has not trained its model",
            where=_WHERE,
            remedy=f"Wait for it, or see `launch status {run.root}`.",
        )
    try:
        recipe = load_recipe(run.recipe).recipe
        trained, prepared = _read(run.train_summary), _read(run.prepare_summary)
        return EarlierRun(
            run,
            recipe,
            model_sha256=str(trained["model_sha256"]),
            base_sha256=str(prepared["fingerprint"]["model"]),
            labels=tuple(prepared["labels"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RankfoldError) as error:
        raise ModelError(
            f"the run in {run.root} is damaged: {type(error).__name__}: {error}",
            where=_WHERE,
            remedy="Restore its files, or train again.",
        ) from error


def models_behind(model: Model) -> Iterator[Model]:
    """A model, and where it is an earlier run's adapter, the model behind that one, and so on.

    Raises:
        ModelError: As `earlier_run`; or a run is behind itself.
    """
    seen: set[Path] = set()
    while True:
        yield model
        if not is_earlier_run(model.name_or_path):
            return
        earlier = earlier_run(model.name_or_path)
        if not earlier.is_adapter:
            return
        if earlier.run.root in seen:
            raise ModelError(f"the run {earlier.run.run_id} is trained on itself", where=_WHERE)
        seen.add(earlier.run.root)
        model = earlier.recipe.model


def models_of(recipe: Recipe) -> Iterator[tuple[str, Model]]:
    """The models that a recipe names, each with its field."""
    yield "model.name_or_path", recipe.model
    if (teacher := recipe.teacher) is not None:
        yield "train.distillation.teacher", teacher


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values

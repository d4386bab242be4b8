"""What every stage reads first: the run's recipe, its task, and what the stage before left."""

import json
import shlex
from pathlib import Path
from typing import Any

from rankfold.errors import OperationalError, UserError
from rankfold.fingerprints import evaluation_fingerprint
from rankfold.nbest.units import Fingerprint
from rankfold.recipe.load import load_recipe
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder
from rankfold.tasks.base import Task
from rankfold.tasks.registry import load_task


def recipe_and_task(run: RunFolder) -> tuple[Recipe, Task[Any]]:
    """The resolved recipe of a run, and the task it names."""
    recipe = load_recipe(run.recipe).recipe
    return recipe, load_task(recipe.task)


def demand(path: Path, stage: str) -> None:
    """Raise OperationalError unless the file that `stage` writes last is there."""
    if not path.is_file():
        raise OperationalError(
            f"there is no {path.name}, so the stage {stage} has not ended well",
            where=str(path.parent),
            remedy=f"Run {stage} first.",
        )


def check_trained(run: RunFolder) -> None:
    """Raise UserError unless the run has trained its model."""
    if not (run.train_summary.is_file() and run.model.is_dir()):
        raise UserError(
            f"{run.run_id} has no trained model yet",
            # Its folder names it wherever this is typed, with whatever folder of runs.
            remedy=f"See how it is: launch status {shlex.quote(str(run.root.absolute()))}",
        )


def prepared_summary(run: RunFolder) -> dict[str, Any]:
    """What prepare says about the data."""
    demand(run.prepare_summary, "prepare")
    summary: dict[str, Any] = json.loads(run.prepare_summary.read_text(encoding="utf-8"))
    return summary


def run_fingerprint(run: RunFolder, recipe: Recipe, task: Task[Any], variant: str) -> Fingerprint:
    """What the records of a variant must have been computed from."""
    hashes = dict(prepared_summary(run)["fingerprint"])
    if variant == "fine_tuned":
        demand(run.train_summary, "train")
        trained = json.loads(run.train_summary.read_text(encoding="utf-8"))
        hashes["model"] += f"+{trained['model_sha256']}"
    return evaluation_fingerprint(recipe, task.record_settings(recipe), **hashes)

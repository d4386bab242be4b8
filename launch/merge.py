"""Merging a run's records again under other settings, without the model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launch.plan_text import dotted_values
from launch.runs import name_for_commands
from launch.states import FINAL
from launch.status import read_status
from rankfold.errors import RecipeError, UserError
from rankfold.run_folder import RunFolder

if TYPE_CHECKING:
    from rankfold.recipe.schema import Recipe
    from rankfold.tasks.base import Task


def merge_again(run: RunFolder, overrides: Sequence[str], tuning_share: float | None) -> Iterator[str]:
    """Merge, score and report again; yield what is to be said of it, a line at a time.

    Args:
        overrides: `evaluation.…=…`, only settings that the merge alone reads.
        tuning_share: Share of the test set to choose `null_score_diff_threshold` on; None leaves it.

    Raises:
        RecipeError: An override is wrong, or is of a setting that the records depend on.
        UserError: The run has not ended, or has no threshold to choose.
        ShardError: The records are not whole.
    """
    from rankfold.recipe.load import load_recipe
    from rankfold.report.write import write_report
    from rankfold.stages.merge import mergings
    from rankfold.stages.threshold import merge_with_best_threshold
    from rankfold.tasks.registry import load_task

    _check_ended(run)
    recipe, settings = load_recipe(run.recipe).recipe, load_recipe(run.recipe, overrides).recipe
    changed = _changed(recipe, settings)
    _check_changes(changed, recipe, load_task(recipe.task))
    for merging in mergings(run, settings):
        before = _numbers(run, merging.variant)
        if tuning_share is None:
            merging.write_results(changed=changed)
        else:
            yield merge_with_best_threshold(merging, tuning_share, recipe.data.split.seed, changed)
        yield from _differences(merging.variant, before, _numbers(run, merging.variant))
    write_report(run)


def _check_ended(run: RunFolder) -> None:
    status = read_status(run)
    if status.state not in FINAL:
        raise UserError(
            f"{run.run_id} is {status.state}, and its own merge would write the same files",
            remedy=f"Wait for its end (launch status {name_for_commands(run)}), or cancel it.",
        )


def _changed(recipe: Recipe, settings: Recipe) -> dict[str, Any]:
    """Dotted key → new value of everything that differs."""
    old, new = (dict(dotted_values(one.model_dump(mode="json"))) for one in (recipe, settings))
    return {key: value for key, value in new.items() if key not in old or old[key] != value}


def _check_changes(changed: Mapping[str, Any], recipe: Recipe, task: Task[Any]) -> None:
    allowed = {f"evaluation.{name}" for name in task.merge_settings}
    refused = sorted(set(changed) - allowed)
    if refused:
        raise RecipeError(
            f"{', '.join(refused)} cannot change after the evaluation; for {recipe.task} a merge may "
            f"change {', '.join(sorted(allowed))}",
            where="command line",
            remedy="Submit the recipe with this override: what it depends on is then computed again.",
        )
    kept = recipe.evaluation.n_best_size
    wanted = changed.get("evaluation.n_best_size", kept)
    if wanted > kept:
        raise RecipeError(
            f"n_best_size {wanted} is more than the {kept} that the records keep",
            where="command line: evaluation.n_best_size",
            remedy=f"Set it to {kept} or less.",
        )


def _numbers(run: RunFolder, variant: str) -> dict[str, float]:
    path = run.metrics(variant)
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {key: value for key, value in metrics.items() if isinstance(value, int | float)}


def _differences(variant: str, before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[str]:
    different = [key for key in after if before.get(key) != after[key]]
    for key in different:
        old = f"{before[key]:.10g}" if key in before else "absent"
        yield f"{variant}: {key} {old} → {after[key]:.10g}"
    if not different:
        yield f"{variant}: no score changed"

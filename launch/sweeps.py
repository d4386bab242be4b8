"""Sweeps: one recipe with several values for some keys, one run for each combination of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launch.combinations import Combination
from launch.plan_text import shown
from launch.states import FINAL, read_json
from launch.status import read_status
from launch.tables import BOLD, styled, table
from rankfold.errors import OperationalError, RecipeError, UserError
from rankfold.run_folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from launch.planning import ClusterChoice, Planned
    from launch.submit import Submitted
    from rankfold.recipe.schema import Recipe

MANY = 20
"""More runs than this are asked about: a sweep of three keys is easily larger than was meant."""

TURN_POLL_S = 1.0


@dataclass(frozen=True)
class SubmittedCombination:
    """A combination's values, and its run."""

    values: Mapping[str, Any]
    submitted: Submitted


@dataclass(frozen=True)
class PlannedCombination:
    """A combination and its plan; `values` are those of its recipe, by dotted key."""

    combination: Combination
    planned: Planned
    values: Mapping[str, Any]


def plan_combinations(
    found: Sequence[Combination], path: Path, *, cluster: ClusterChoice, profile: str | None
) -> list[PlannedCombination]:
    """Load and plan every combination.

    Raises:
        UserError: The profile is wrong.
        RecipeError: All that is wrong with any of them, each mistake with the combinations that have it.
    """
    from launch.planning import plan_recipe
    from rankfold.recipe.load import recipe_sha256

    planned: list[PlannedCombination] = []
    mistakes: dict[str, list[Combination]] = {}
    seen: dict[str, Combination] = {}
    for one in found:
        try:
            plan = plan_recipe(path, one.overrides, cluster=cluster, profile=profile)
        except RecipeError as error:
            mistakes.setdefault(str(error), []).append(one)
            continue
        recipe = plan.loaded.recipe
        first = seen.setdefault(recipe_sha256(recipe), one)
        if first is not one:
            mistakes.setdefault(f"this is the same recipe as {first}", []).append(one)
        planned.append(PlannedCombination(one, plan, {key: value_at(recipe, key) for key in one.texts}))
    if mistakes:
        raise RecipeError("\n".join(_mistake_lines(mistakes, len(found))))
    return planned


def agree(number: int, *, yes: bool, can_ask: bool) -> None:
    """Let a large sweep pass only if somebody wants it.

    Raises:
        UserError: Nobody said so.
    """
    if number <= MANY or yes:
        return
    question = f"these values make {number} runs"
    if not can_ask:
        raise UserError(
            f"{question}, more than {MANY}", where="command line", remedy="Add --yes to start them."
        )
    if input(f"{question}. Start them? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("no run was started")


def submit_sweep(
    planned: Sequence[PlannedCombination], runs_folder: Path, *, again: bool
) -> tuple[str, list[SubmittedCombination]]:
    """Check every combination, then start a run for each; return the sweep's id and its runs.

    What was submitted before one fails stays: the same command again submits the rest. On this machine each
    run waits for the one before it.

    Raises:
        UserError: One of them is known to fail; no run has been started then.
        OperationalError: Slurm or a driver refused one.
    """
    from launch import submit
    from launch.new_run import digest_now
    from rankfold.recipe.load import recipe_sha256

    digests = [digest_now(recipe_sha256(one.planned.loaded.recipe)) for one in planned]
    sweep = sweep_id(planned[0].planned.plan.name, digests)
    existing = [None if again else submit.existing_run(one.planned, runs_folder) for one in planned]
    notes = _check([one for one, there in zip(planned, existing, strict=True) if not there], runs_folder)
    runs: list[SubmittedCombination] = []
    for one, there in zip(planned, existing, strict=True):
        told = {"id": sweep, "values": dict(one.values), "after": _last_here(runs)}
        try:
            submitted = there or submit.start(
                one.planned, runs_folder, again=again, sweep=told, notes=notes[one.planned.plan.jobs]
            )
        except OperationalError as error:
            raise _half_submitted(runs, one, error) from error
        runs.append(SubmittedCombination(one.values, submitted))
    return sweep, runs


def sweep_lines(sweep: str, runs: Sequence[SubmittedCombination], *, color: bool) -> Iterator[str]:
    """Yield a table of the runs of a sweep, and what Slurm expects."""
    new = sum(one.submitted.is_new for one in runs)
    some = f"{new} of {len(runs)} runs submitted, the others were there already"
    words = f"{new} runs submitted" if new == len(runs) else some
    yield styled(f"{sweep}: {words}", BOLD, color=color)
    yield ""
    rows = [
        (
            one.submitted.run.run_id,
            *map(shown, one.values.values()),
            one.submitted.state,
            _where(one.submitted),
        )
        for one in runs
    ]
    yield from table(("run", *runs[0].values, "state", "where"), rows)
    yield from dict.fromkeys(note for one in runs for note in one.submitted.notes)
    for one in runs:
        if one.submitted.stopped is not None:
            stopped, started = one.submitted.stopped.run_id, one.submitted.run.run_id
            yield f"note: launch resume {stopped} would go on with an earlier run of the same as {started}"


def names_to_compare(sweep: str, runs: Sequence[SubmittedCombination]) -> str:
    """What to write after `launch compare`: the sweep, or its runs where one was there before it."""
    found = [one.submitted.run for one in runs]
    if all((read_json(run.run).get("sweep") or {}).get("id") == sweep for run in found):
        return f"--sweep {sweep}"
    return " ".join(run.run_id for run in found)


def wait_for_turn(run: RunFolder, stopped: Callable[[], bool]) -> None:
    """Wait until the run of the same sweep before this one has ended, or this one is stopped."""
    before = (read_json(run.run).get("sweep") or {}).get("after")
    earlier = RunFolder(run.root.parent / before) if before else None
    while earlier is not None and earlier.run.is_file() and not stopped():
        if read_status(earlier).state in FINAL:
            return
        time.sleep(TURN_POLL_S)


def value_at(recipe: Recipe, key: str) -> Any:
    """The value of a recipe at a dotted key, as JSON has it."""
    value: Any = recipe.model_dump(mode="json")
    for step in key.split("."):
        value = value[step]
    return value


def sweep_id(name: str, digests: Sequence[str]) -> str:
    """Name of a sweep, the same whenever the same recipes and code are submitted."""
    return f"{name}-sweep-{hashlib.sha256(' '.join(sorted(digests)).encode()).hexdigest()[:6]}"


def _check(planned: Sequence[PlannedCombination], runs_folder: Path) -> dict[Any, tuple[str, ...]]:
    """Check every combination; return what Slurm expects, by the jobs it was asked about."""
    from launch import submit

    mistakes: dict[str, list[Combination]] = {}
    for one in planned:
        try:
            submit.check(one.planned, runs_folder)
        except UserError as error:
            mistakes.setdefault(str(error), []).append(one.combination)
    if mistakes:
        raise UserError("\n".join(_mistake_lines(mistakes, len(planned))))
    # Asking Slurm takes a second, and runs that ask for the same get the same answer.
    distinct = {one.planned.plan.jobs: one.planned for one in planned}
    return {jobs: submit.ask_slurm(one, runs_folder) for jobs, one in distinct.items()}


def _last_here(runs: Sequence[SubmittedCombination]) -> str | None:
    """The run on this machine that the next one waits for."""
    here = [
        one.submitted.run.run_id
        for one in runs
        if one.submitted.cluster == "local" and one.submitted.state not in FINAL
    ]
    return here[-1] if here else None


def _where(submitted: Submitted) -> str:
    if submitted.cluster == "slurm":
        return f"Slurm jobs {' '.join(submitted.job_ids.values())}"
    return f"process {submitted.driver_pid}" if submitted.driver_pid else "this machine"


def _half_submitted(
    runs: Sequence[SubmittedCombination], failed: PlannedCombination, error: OperationalError
) -> OperationalError:
    new = [one.submitted.run.run_id for one in runs if one.submitted.is_new]
    if not new:
        return error
    going_on = "the run before it goes on" if len(new) == 1 else f"the {len(new)} runs before it go on"
    return OperationalError(
        f"{failed.combination} could not be submitted: {error}\n  {going_on}: {', '.join(new)}",
        remedy="The same command again submits the rest. To take them back: "
        f"for run in {' '.join(new)}; do launch cancel $run; done",
    )


def _mistake_lines(mistakes: Mapping[str, Sequence[Combination]], number: int) -> Iterator[str]:
    """Each mistake once, under the combinations that have it."""
    for message, having in mistakes.items():
        if len(having) == number:
            yield message
            continue
        yield f"with {' and with '.join(map(str, having))}:"
        yield from (f"  {line}" for line in message.splitlines())

"""Finding runs: by id, by the start of an id, by path, by recipe, or the latest."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launch.states import State, read_json
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder

if TYPE_CHECKING:
    from launch.planning import Planned

LATEST = "latest"
STOPPED: tuple[State, ...] = ("failed", "cancelled")


def runs_folder(chosen: Path | None) -> Path:
    """The folder of all runs: the one that was named, $LAUNCH_RUNS_DIR, or `runs` here."""
    return chosen or Path(os.environ.get("LAUNCH_RUNS_DIR") or "runs")


def all_runs(folder: Path) -> list[RunFolder]:
    """Every run in a folder, oldest first."""
    if not folder.is_dir():
        return []
    runs = [RunFolder(path.absolute()) for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted((run for run in runs if run.run.is_file()), key=_created)


def find_run(name: str, folder: Path) -> RunFolder:
    """Find the run that `name` means.

    Raises:
        UserError: There is none, or more than one.
    """
    path = Path(name)
    if RunFolder(path).run.is_file():
        return RunFolder(path.absolute())
    runs = all_runs(folder)
    if name == LATEST:
        matching = runs[-1:]
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        matching = [run for run in runs if read_json(run.run)["name"] == _recipe_name(path)][-1:]
    else:
        matching = [run for run in runs if run.run_id == name]
        matching = matching or [run for run in runs if run.run_id.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    raise _not_found(name, folder, matching or runs, ambiguous=bool(matching))


@dataclass(frozen=True)
class Twin:
    """A run of the same recipe and code; `cancelled` is also one that was never wholly started."""

    run: RunFolder
    state: State


def find_twin(folder: Path, planned: Planned) -> Twin | None:
    """The newest run of exactly this recipe, code and inputs, one that has not failed before one that has.

    Whoever calls this holds the folder's lock (`launch.runs_lock`): nobody is just starting a run.
    """
    from launch.new_run import digest_now
    from launch.status import read_status
    from rankfold.recipe.load import recipe_sha256

    stopped: Twin | None = None
    recipe_hash = recipe_sha256(planned.loaded.recipe)
    identity = {"recipe_sha256": recipe_hash, "digest": digest_now(recipe_hash)}
    for run in reversed(all_runs(folder)):
        told = read_json(run.run)
        if not identity.items() <= told.items() or not run.plan.is_file():
            continue
        if not _has_same_inputs(run, planned):
            continue
        twin = Twin(run, read_status(run).state if was_started(run) else "cancelled")
        if twin.state not in STOPPED:
            return twin
        stopped = stopped or twin
    return stopped


def was_started(run: RunFolder) -> bool:
    """Whether whoever submitted the run lived long enough to start all of it."""
    plan = read_json(run.plan)
    if plan["cluster"] == "local":
        return run.driver_state.is_file()
    return {job["name"] for job in plan["jobs"]} <= (read_json(run.job_ids) or {}).keys()


def name_for_commands(run: RunFolder) -> str:
    """What to write for RUN in the next command: the id, or the folder where the id is not found."""
    is_found = run.root.parent == runs_folder(None).absolute()
    return run.run_id if is_found else shlex.quote(str(run.root))


def _has_same_inputs(run: RunFolder, planned: Planned) -> bool:
    """Whether model and data are still those the run was given; true for a run that did not note them."""
    from launch.fetch import job_environment
    from rankfold.hub_cache import hub_cache
    from rankfold.lock import lock_recipe, read_lock

    noted = read_lock(run)
    if not noted:
        return True
    try:
        _, entries = lock_recipe(planned.loaded.recipe, hub_cache(job_environment(planned)))
    except UserError:
        # Something is gone; the checks of the new run say what.
        return False
    return entries == noted


def _created(run: RunFolder) -> tuple[str, str]:
    return read_json(run.run)["created"], run.run_id


def _recipe_name(path: Path) -> str:
    from rankfold.recipe.load import load_recipe

    return load_recipe(path).recipe.name


def _not_found(name: str, folder: Path, candidates: list[RunFolder], *, ambiguous: bool) -> UserError:
    if not candidates:
        return UserError(
            f"there is no run {name!r}, nor any other, in {folder}",
            remedy="Start one with `launch submit RECIPE`, or say where runs are with --runs-dir.",
        )
    newest = ", ".join(run.run_id for run in reversed(candidates[-5:]))
    what = f"{name!r} may be any of" if ambiguous else f"there is no run {name!r} in {folder}; newest:"
    return UserError(f"{what} {newest}", remedy="Write more of the id, or `latest`.")

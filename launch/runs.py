"""Finding runs: by id, by the start of an id, by path, by recipe, or the latest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from launch.states import FINAL, read_json
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder

if TYPE_CHECKING:
    from rankfold.recipe.schema import Recipe

LATEST = "latest"


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


def running_twin(folder: Path, recipe: Recipe) -> str | None:
    """The id of a run of exactly this recipe that has not ended, if there is one."""
    from launch.status import read_status
    from rankfold.recipe.load import recipe_sha256

    for run in reversed(all_runs(folder)):
        if read_json(run.run)["recipe_sha256"] != recipe_sha256(recipe):
            continue
        if not run.plan.is_file() or read_status(run).state in FINAL:
            continue
        return run.run_id
    return None


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

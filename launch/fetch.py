"""Bringing what a recipe needs of the hub to this machine, before any job asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rankfold.errors import EXIT_USER, OperationalError, RankfoldError, UserError

if TYPE_CHECKING:
    from launch.planning import Planned
    from rankfold.hub_cache import Repository, Snapshot
    from rankfold.recipe.schema import Model


@dataclass(frozen=True)
class Fetched:
    """A model or data set of a recipe that is here.

    Attributes:
        is_new: Whether it was not here before, or not at this commit.
        note: Why the hub was not asked, where it was not.
    """

    what: str
    revision: str
    folder: Path
    num_files: int
    num_bytes: int
    is_new: bool
    note: str = ""

    def to_json(self) -> dict[str, object]:
        return {**vars(self), "folder": str(self.folder)}


def job_environment(planned: Planned) -> dict[str, str]:
    """The environment that the jobs of a plan find, as far as it is known here."""
    on_slurm = planned.plan.cluster == "slurm"
    return {**os.environ, **(planned.profile.environment if on_slurm else {})}


def ensure_fetched(planned: Planned) -> None:
    """Fetch what a recipe needs of the hub and the cache does not hold; say so on standard error.

    Where everything is here, the hub is not asked, so a submission needs no network.

    Raises:
        UserError: The hub has no such thing, or it may not be read with this token.
        OperationalError: The hub cannot be reached.
    """
    from rankfold.hub_cache import hub_cache, missing

    environment = job_environment(planned)
    problems = []
    for repository in missing(planned.loaded.recipe, hub_cache(environment)):
        try:
            _fetch_repository(repository, environment)
        except RankfoldError as error:
            problems.append(error)
    if problems:
        raise _all_of(problems, planned.loaded.path)


def fetch(planned: Planned) -> Iterator[Fetched]:
    """Fetch everything of a recipe at the commits that its revisions mean now, and convert its model.

    Raises:
        UserError: The hub has no such thing, or it may not be read with this token.
        OperationalError: The hub cannot be reached, and the cache does not hold it either.
    """
    from rankfold.hub_cache import models_read, repositories
    from rankfold.recipe.schema import PACKAGE_PREFIX

    environment = job_environment(planned)
    recipe = planned.loaded.recipe
    problems = []
    packages = {model.name_or_path: model for _, model in models_read(recipe)}
    for name, model in packages.items():
        if name.startswith(PACKAGE_PREFIX):
            yield _fetch_package(model, environment)
    for repository in repositories(recipe):
        try:
            yield _fetch_newest(repository, environment)
        except RankfoldError as error:
            problems.append(error)
    if problems:
        raise _all_of(problems, planned.loaded.path)


def note_missing(planned: Planned) -> Planned:
    """The plan with a note on what is not here yet."""
    from rankfold.hub_cache import hub_cache, missing

    names = [str(one) for one in missing(planned.loaded.recipe, hub_cache(job_environment(planned)))]
    if not names:
        return planned
    note = (
        f"not here yet: {', '.join(names)}; `launch submit` fetches it first, "
        f"`launch fetch {planned.loaded.path}` now"
    )
    plan = replace(planned.plan, notes=(*planned.plan.notes, note))
    return replace(planned, plan=plan)


def _fetch_newest(repository: Repository, environment: Mapping[str, str]) -> Fetched:
    """Ask the hub for the newest commit; where it cannot be asked, what is here will do."""
    from rankfold.hub_cache import find_snapshot, hub_cache, is_commit

    cache = hub_cache(environment)
    before = find_snapshot(repository, cache)
    if before is not None and is_commit(repository.revision):
        return _fetched(before, is_new=False)
    try:
        _fetch_repository(repository, environment)
    except RankfoldError as error:
        if before is None:
            raise
        return _fetched(
            before, is_new=False, note=f"whether there is a newer one is not known: {error.message}"
        )
    after = find_snapshot(repository, cache)
    if after is None:
        raise OperationalError(f"the {repository} was fetched, but is not in {cache}", where=repository.field)
    return _fetched(after, is_new=before is None or before.commit != after.commit)


def _fetched(snapshot: Snapshot, *, is_new: bool, note: str = "") -> Fetched:
    return Fetched(
        str(snapshot.repository),
        snapshot.commit,
        snapshot.folder,
        snapshot.num_files,
        snapshot.num_bytes,
        is_new,
        note,
    )


def _fetch_package(model: Model, environment: Mapping[str, str]) -> Fetched:
    from importlib import metadata

    from rankfold.modeling.packages import converted_folder, package_model
    from rankfold.recipe.schema import PACKAGE_PREFIX

    package = model.name_or_path.removeprefix(PACKAGE_PREFIX)
    found = package_model(package)
    folder = found if found.is_dir() else converted_folder(found)
    is_new = not folder.is_dir()
    if is_new:
        _run(["package", package], environment)
    files = [file for file in folder.iterdir() if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return Fetched(
        f"package {package}", f"version {metadata.version(package)}", folder, len(files), size, is_new
    )


def _fetch_repository(repository: Repository, environment: Mapping[str, str]) -> None:
    from rankfold.hub_cache import is_offline

    if is_offline(environment):
        raise OperationalError(
            f"the {repository} cannot be fetched: HF_HUB_OFFLINE turns the hub off",
            where=repository.field,
            remedy="Unset it and run `launch fetch RECIPE` where there is a network, with the same HF_HOME.",
        )
    _run(["repository", repository.to_json()], environment)


def _run(arguments: list[str], environment: Mapping[str, str]) -> None:
    """Run `rankfold.fetch`; its progress goes to standard error, its error comes back as one of ours."""
    done = _run_apart(arguments, environment)
    if done.returncode == 0:
        return
    lines = done.stdout.splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise OperationalError(
            f"python -m rankfold.fetch ended with exit code {done.returncode}",
            remedy="What it wrote above says why.",
        )
    error = UserError if done.returncode == EXIT_USER else OperationalError
    raise error(**json.loads(lines[-1]))


def _run_apart(arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    quiet = {} if sys.stderr.isatty() else {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "rankfold.fetch", *arguments],
        # A folder called launch or rankfold where the user stands must not take the package's place.
        env={"TRANSFORMERS_VERBOSITY": "error", **environment, **quiet, "PYTHONSAFEPATH": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


def _all_of(problems: list[RankfoldError], recipe: Path) -> RankfoldError:
    """One error for all; it is not the user's where only a network is wanting."""
    error = UserError if any(isinstance(one, UserError) for one in problems) else OperationalError
    text = "\n  ".join(str(one).replace("launch fetch RECIPE", f"launch fetch {recipe}") for one in problems)
    return error(f"not everything that this run needs is here:\n  {text}")

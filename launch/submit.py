"""Submitting a plan: check it, make the run's folder, then hand the jobs to Slurm or to a local driver."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch import preflight
from launch.fetch import ensure_fetched
from launch.local.driver import start_driver
from launch.new_run import create_run
from launch.planning import Planned
from launch.runs import STOPPED, Twin, find_twin
from launch.runs_lock import submitting
from launch.slurm import submission
from launch.slurm.answers import slurm_answers
from launch.states import State, mark_cancelled, read_driver_state, read_json
from rankfold.errors import OperationalError, UserError
from rankfold.run_folder import RunFolder


@dataclass(frozen=True)
class Submitted:
    """A run that is on its way, or one of the same recipe and code that was there already.

    Attributes:
        job_ids: Slurm's ids by job; empty on this machine.
        driver_pid: The pid of its driver; None on Slurm, and where it has ended.
        state: How the run is.
        is_new: Whether it was submitted now.
        stopped: A run of the same recipe and code that failed or was cancelled, and could go on instead.
        notes: What Slurm says of the jobs before it has them.
    """

    run: RunFolder
    cluster: str
    job_ids: dict[str, str]
    driver_pid: int | None
    state: State = "pending"
    is_new: bool = True
    stopped: RunFolder | None = None
    notes: tuple[str, ...] = ()


def submit(
    planned: Planned,
    runs_folder: Path,
    *,
    again: bool,
    sweep: Mapping[str, Any] | None = None,
) -> Submitted:
    """Check what can be checked, make the run's folder and start the run.

    Where a run of the same recipe, code and data still goes on or has completed, that one is returned and
    nothing is started.

    Args:
        again: Start another in any case.
        sweep: The sweep that the run belongs to, and what it tries there.

    Raises:
        UserError: Something is known to fail; nothing has been written then.
        OperationalError: Slurm or the driver refused.
    """
    existing = None if again else existing_run(planned, runs_folder)
    if existing is not None:
        return existing
    check(planned, runs_folder)
    notes = ask_slurm(planned, runs_folder)
    return start(planned, runs_folder, again=again, sweep=sweep, notes=notes)


def existing_run(planned: Planned, runs_folder: Path) -> Submitted | None:
    """The run of the same recipe, code and data that still goes on or has completed, if there is one."""
    if not runs_folder.is_dir():
        return None
    with submitting(runs_folder):
        twin = find_twin(runs_folder, planned)
    return None if twin is None or twin.state in STOPPED else _found(twin)


def check(planned: Planned, runs_folder: Path) -> None:
    """Look for everything that is known to fail, and fetch what jobs cannot.

    Raises:
        UserError: Slurm does not answer, the recipe cannot work, or the hub has not what it names.
        OperationalError: The hub cannot be reached.
    """
    if planned.plan.cluster == "slurm" and not slurm_answers():
        raise UserError(
            "Slurm does not answer here",
            where="--cluster slurm",
            remedy="Log in to a node with sbatch on its PATH, or use --cluster local.",
        )
    preflight.check(planned.loaded.recipe, runs_folder)
    ensure_fetched(planned)


def ask_slurm(planned: Planned, runs_folder: Path) -> tuple[str, ...]:
    """Hold a plan against the cluster's limits, then have Slurm look at each kind of job.

    Returns:
        When Slurm would start the first of them; nothing for a plan for this machine.

    Raises:
        UserError: Slurm would refuse a job, or never run it, or would misread the folder's name.
        OperationalError: Slurm does not answer.
    """
    from launch.slurm.limits import limit_problems
    from launch.slurm.site import read_site

    plan, profile = planned.plan, planned.profile
    if plan.cluster != "slurm":
        return ()
    preflight.refuse(list(limit_problems(plan, profile, read_site(getpass.getuser()))))
    # Of the others sbatch cannot know when what they wait for is done.
    return tuple(map(str, submission.test_only(plan, profile, runs_folder)[:1]))


def start(
    planned: Planned,
    runs_folder: Path,
    *,
    again: bool,
    sweep: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
) -> Submitted:
    """Make the run's folder and start it, unless somebody did so since the checks; as `submit`."""
    with submitting(runs_folder):
        twin = None if again else find_twin(runs_folder, planned)
        if twin is not None and twin.state not in STOPPED:
            return _found(twin)
        stopped = None if twin is None else twin.run
        run = create_run(planned, runs_folder, sweep=sweep)
        plan = planned.plan
        if plan.cluster == "slurm":
            ids = submission.submit_plan(run, plan, planned.profile)
            return Submitted(run, plan.cluster, ids, None, stopped=stopped, notes=notes)
        try:
            return Submitted(run, plan.cluster, {}, start_driver(run), stopped=stopped, notes=notes)
        except OperationalError:
            mark_cancelled(run, plan)
            raise


def _found(twin: Twin) -> Submitted:
    driver = read_driver_state(twin.run)
    alive = driver is not None and driver.process.is_here and driver.process.is_alive()
    return Submitted(
        run=twin.run,
        cluster=read_json(twin.run.plan)["cluster"],
        job_ids=read_json(twin.run.job_ids) or {},
        driver_pid=driver.process.pid if driver is not None and alive else None,
        state=twin.state,
        is_new=False,
    )

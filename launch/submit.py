"""Submitting a plan: make the run's folder, then hand the jobs to Slurm or to a local driver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launch import preflight, submission
from launch.local import start_driver
from launch.new_run import create_run
from launch.planning import Planned
from launch.runs import running_twin
from launch.slurm import slurm_answers
from launch.states import mark_cancelled
from rankfold.errors import OperationalError, UserError
from rankfold.run_folder import RunFolder


@dataclass(frozen=True)
class Submitted:
    """A run that is on its way: Slurm's job ids, or the pid of its driver."""

    run: RunFolder
    cluster: str
    job_ids: dict[str, str]
    driver_pid: int | None


def submit(planned: Planned, runs_folder: Path, *, again: bool) -> Submitted:
    """Check what can be checked, make the run's folder and start the run.

    Args:
        again: Start even where the same recipe still runs.

    Raises:
        UserError: Something is known to fail; nothing has been written then.
        OperationalError: Slurm or the driver refused.
    """
    cluster = planned.plan.cluster
    if cluster == "slurm" and not slurm_answers():
        raise UserError(
            "Slurm does not answer here",
            where="--cluster slurm",
            remedy="Log in to a node with sbatch on its PATH, or use --cluster local.",
        )
    preflight.check(planned.loaded.recipe, runs_folder)
    twin = None if again else running_twin(runs_folder, planned.loaded.recipe)
    if twin is not None:
        raise UserError(
            f"the same recipe runs already, as {twin}",
            remedy=f"launch status {twin}, or add --again to start another.",
        )
    run = create_run(planned, runs_folder)
    if cluster == "slurm":
        return Submitted(run, cluster, submission.submit_plan(run, planned.plan, planned.profile), None)
    try:
        return Submitted(run, cluster, {}, start_driver(run))
    except OperationalError:
        mark_cancelled(run, planned.plan)
        raise

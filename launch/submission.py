"""Handing a plan's jobs to Slurm: all of them, or none."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launch.job import RankJob
from launch.plan import Plan, PlannedJob
from launch.profiles import ClusterProfile
from launch.slurm import cancel_jobs
from launch.states import mark_cancelled
from rankfold import atomic
from rankfold.errors import OperationalError
from rankfold.run_folder import RunFolder

if TYPE_CHECKING:
    from submitit import SlurmExecutor

INHERITED = re.compile(r"(SLURM|SBATCH|SRUN)_(?!CONF$)")
"""Variables of a surrounding job that would silently change what a new one asks for."""


def submit_plan(run: RunFolder, plan: Plan, profile: ClusterProfile) -> dict[str, str]:
    """Submit every job with its dependencies; return job name → Slurm's id.

    Ids are written down one by one, so that a submission that is interrupted can be cancelled.

    Raises:
        OperationalError: sbatch refused one; those before it are cancelled.
    """
    from submitit.core.utils import UncompletedJobError

    ids: dict[str, str] = {}
    try:
        for job in plan.jobs:
            ids[job.name] = _submit(run, plan.name, job, profile, [ids[name] for name in job.after])
            atomic.write_json(run.job_ids, ids)
    except BaseException as error:
        cancel_jobs(list(ids.values()))
        mark_cancelled(run, plan)
        if not isinstance(error, UncompletedJobError | RuntimeError | OSError | subprocess.SubprocessError):
            raise
        taken_back = f"; the {len(ids)} before it are cancelled" if ids else ""
        raise OperationalError(
            f"sbatch refused the job {job.name}{taken_back}: {_reason(error)}",
            remedy="`launch plan --cluster slurm` shows the script; sites differ, and --profile says how.",
        ) from error
    return ids


def _submit(
    run: RunFolder, recipe_name: str, job: PlannedJob, profile: ClusterProfile, after_ids: list[str]
) -> str:
    from launch.batch import slurm_parameters

    executor = _executor(run, job)
    executor.update_parameters(**slurm_parameters(recipe_name, job, profile, after_ids))
    with _clean_environment():
        return str(executor.submit(RankJob.of(run, job)).job_id)


def _executor(run: RunFolder, job: PlannedJob) -> SlurmExecutor:
    from submitit import SlurmExecutor

    return SlurmExecutor(run.submitit(job.name))


@contextmanager
def _clean_environment() -> Iterator[None]:
    inherited = {name: value for name, value in os.environ.items() if INHERITED.match(name)}
    for name in inherited:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(inherited)


def _reason(error: BaseException) -> str:
    """sbatch's own words out of submitit's error, which wraps them in the command and a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if "sbatch: error:" in line]
    return " ".join(lines) or str(error)

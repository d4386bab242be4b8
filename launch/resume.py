"""Going on with a run that ended before it was done: only what is missing is computed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from launch.attempts import Ending, end_attempt, read_attempts
from launch.new_run import code_changed
from launch.plan import Plan, PlannedJob
from launch.processes import end_group
from launch.runs import name_for_commands, was_started
from launch.runs_lock import submitting
from launch.slurm.states import AT_WORK, WAITING
from launch.states import (
    FINAL,
    JobState,
    RankState,
    read_driver_state,
    read_job_state,
    read_json,
    read_rank_states,
)
from launch.status import read_status
from launch.why.failures import settle_ranks
from rankfold.errors import OperationalError, UserError
from rankfold.run_folder import RunFolder

if TYPE_CHECKING:
    from launch.profiles.profile import ClusterProfile

RANK_PATIENCE_S = 5.0
QUEUE_PATIENCE_S = 60.0
"""Longer than the 30 seconds that Slurm gives a job, unless told otherwise, between TERM and KILL."""
QUEUE_POLL_S = 1.0


@dataclass(frozen=True)
class Resumed:
    """A run that goes on, and with which jobs; none where nothing was missing."""

    run: RunFolder
    cluster: str
    jobs: tuple[str, ...]
    job_ids: dict[str, str]
    driver_pid: int | None
    code_changed: bool


def resume_run(run: RunFolder) -> Resumed:
    """Start the jobs of a run whose results are missing, and those after them.

    Raises:
        UserError: The run still goes on, here or elsewhere, or is not a whole run.
        OperationalError: Slurm or the driver refused.
    """
    with submitting(run.root.parent):
        _check_ended(run)
        plan = Plan.from_json(read_json(run.plan))
        missing = missing_jobs(run, plan)
        changed = code_changed(run)
        if not missing:
            _write_states(run, plan, missing)
            return Resumed(run, plan.cluster, (), {}, None, changed)
        if plan.cluster == "slurm":
            return Resumed(run, plan.cluster, missing, _submit(run, plan, missing), None, changed)
        return Resumed(run, plan.cluster, missing, {}, _drive(run, plan, missing), changed)


def missing_jobs(run: RunFolder, plan: Plan) -> tuple[str, ...]:
    """The jobs whose results are not all there, and every job after one of them, in the plan's order.

    A job that finds its results when it runs again does nothing, but what it waits for must come first.
    """
    from rankfold.stages.done import is_done

    missing: dict[str, None] = {}
    for job in plan.jobs:
        waits = any(name in missing for name in job.after)
        if waits or not is_done(run, job.stage, job.variant, job.shard, job.num_shards):
            missing[job.name] = None
    return tuple(missing)


def _check_ended(run: RunFolder) -> None:
    status = read_status(run)
    if status.cluster == "local":
        driver = read_driver_state(run)
        if driver is not None and driver.state not in FINAL and not driver.process.is_here:
            host = driver.process.host
            raise UserError(
                f"{run.run_id} runs on {host}, as far as can be seen from here",
                remedy=f"Resume it there: ssh {host}. If that machine is no more, delete {run.driver_state}.",
            )
    if was_started(run) and status.state not in FINAL:
        name = name_for_commands(run)
        raise UserError(
            f"{run.run_id} is {status.state}: it goes on by itself",
            remedy=f"Watch it with launch status {name}, or stop it first with launch cancel {name}.",
        )


def _drive(run: RunFolder, plan: Plan, missing: Collection[str]) -> int:
    from launch.local.driver import start_driver

    for job in plan.jobs:
        _close(run, job)
    _write_states(run, plan, missing)
    # The new driver says that it is there by writing this file.
    run.driver_state.unlink(missing_ok=True)
    return start_driver(run)


def _submit(run: RunFolder, plan: Plan, missing: Collection[str]) -> dict[str, str]:
    from launch.slurm.answers import slurm_answers
    from launch.slurm.submission import submit_plan

    if not slurm_answers():
        raise UserError(
            "Slurm does not answer here, and this is a run of Slurm",
            where=run.run_id,
            remedy="Log in to a node with sbatch on its PATH.",
        )
    _empty_queue(list((read_json(run.job_ids) or {}).values()))
    profile = _stored_profile(run)
    _write_states(run, plan, missing)
    return submit_plan(run, plan, profile, only=missing)


def _empty_queue(ids: list[str]) -> None:
    """Have Slurm end what is left of earlier submissions: two of the same job would write the same files.

    A submission that was cut short leaves jobs, a failure those that did not wait for the failed one, and a
    cancelled job may save until Slurm kills it.

    Raises:
        OperationalError: Slurm does not answer, or takes longer than QUEUE_PATIENCE_S.
    """
    from launch.slurm.answers import cancel_jobs, queued_jobs

    deadline = time.monotonic() + QUEUE_PATIENCE_S
    while left := {one: job.state for one, job in queued_jobs(ids).items() if job.state in WAITING + AT_WORK}:
        if time.monotonic() > deadline:
            raise OperationalError(
                f"Slurm has not ended {' '.join(left)} within {QUEUE_PATIENCE_S:g} s",
                remedy=f"Resume once `squeue --jobs={','.join(left)}` shows none of them.",
            )
        cancel_jobs([one for one, state in left.items() if state != "COMPLETING"])
        time.sleep(QUEUE_POLL_S)


def _write_states(run: RunFolder, plan: Plan, missing: Collection[str]) -> None:
    """Say that what is missing has not started, and that the rest is complete, whatever was said before."""
    run.cancelled.unlink(missing_ok=True)
    for job in plan.jobs:
        told = read_job_state(run, job.name)
        if job.name in missing:
            JobState(job.name, job.stage, "pending", job.ranks).write(run)
            for left in (run.progress(job.name), run.exit_codes(job.name)):
                left.unlink(missing_ok=True)
        elif told is None:
            JobState(job.name, job.stage, "completed", job.ranks).write(run)
        elif told.state != "completed":
            replace(told, state="completed", error=None).write(run)


def _close(run: RunFolder, job: PlannedJob) -> None:
    """Write how an attempt ended whose driver could not, and end ranks that outlived it.

    Two of the same rank would write the same files.
    """
    for rank in read_rank_states(run, job.name, job.ranks):
        if _lives_here(rank):
            with suppress(ProcessLookupError):
                end_group(os.getpgid(rank.process.pid), RANK_PATIENCE_S)
    settle_ranks(run, job, None)
    attempts = read_attempts(run, job.name)
    if attempts and attempts[-1].cause is None:
        end_attempt(run, job.name, Ending("interrupted", "the driver was gone"))


def _lives_here(rank: RankState) -> bool:
    return rank.process.is_here and rank.process.is_alive()


def _stored_profile(run: RunFolder) -> ClusterProfile:
    from launch.profiles.profile import ClusterProfile, load_profile

    stored = read_json(run.profile)
    return load_profile(None) if stored is None else ClusterProfile.from_json(stored)

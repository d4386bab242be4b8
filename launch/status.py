"""How a run is, from its own files and, for Slurm, from squeue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from launch.plan import Plan, PlannedJob
from launch.slurm import QueuedJob, queued_jobs
from launch.slurm_states import join
from launch.states import (
    FINAL,
    DriverState,
    JobState,
    State,
    read_driver_state,
    read_job_state,
    read_json,
    read_rank_states,
)
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder


@dataclass(frozen=True)
class Progress:
    """How far a running job is."""

    step: int
    total: int
    unit: str
    loss: float | None
    seconds_per_step: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class JobStatus:
    """How one job is; `log` is the log to look at first."""

    job: str
    stage: str
    variant: str | None
    state: State
    ranks: int
    ranks_started: int
    started: str | None
    ended: str | None
    seconds: float | None
    error: str | None
    progress: Progress | None
    slurm_id: str | None
    waits_for: str | None
    log: str


@dataclass(frozen=True)
class RunStatus:
    """How a run is."""

    run_id: str
    name: str
    cluster: str
    created: str
    state: State
    error: str | None
    failed_job: str | None
    jobs: tuple[JobStatus, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_status(run: RunFolder, queue: Mapping[str, QueuedJob] | None = None) -> RunStatus:
    """Read how a run is.

    Args:
        queue: What squeue says, where it was asked already.

    Raises:
        UserError: The folder is not a whole run.
        OperationalError: The run is on Slurm and squeue does not answer.
    """
    plan, identity = _plan(run), read_json(run.run)
    if plan.cluster == "slurm":
        jobs, error = _slurm_jobs(run, plan, queue), None
    else:
        jobs, error = _local_jobs(run, plan)
    failed = next((job for job in jobs if job.state == "failed"), None)
    return RunStatus(
        run_id=run.run_id,
        name=identity["name"],
        cluster=plan.cluster,
        created=identity["created"],
        state="failed" if error else _run_state(jobs),
        error=error or (failed.error if failed else None),
        failed_job=failed.job if failed else None,
        jobs=jobs,
    )


def read_all(runs: Sequence[RunFolder]) -> list[RunStatus]:
    """Read how several runs are; squeue is asked at most once."""
    queue = queued_jobs() if any(_needs_queue(run, _plan(run)) for run in runs) else {}
    return [read_status(run, queue) for run in runs]


def _plan(run: RunFolder) -> Plan:
    value = read_json(run.plan)
    if value is None:
        raise UserError(f"{run.root} is not a run: it lacks {run.plan.name}")
    return Plan.from_json(value)


def _needs_queue(run: RunFolder, plan: Plan) -> bool:
    states = [read_job_state(run, job.name) for job in plan.jobs]
    return plan.cluster == "slurm" and any(state is None or state.state not in FINAL for state in states)


def _run_state(jobs: tuple[JobStatus, ...]) -> State:
    states = {job.state for job in jobs}
    if "running" in states:
        return "running"
    if "failed" in states:
        return "failed"
    if "cancelled" in states:
        return "cancelled"
    if states == {"completed"}:
        return "completed"
    return "pending" if states == {"pending"} else "running"


def _local_jobs(run: RunFolder, plan: Plan) -> tuple[tuple[JobStatus, ...], str | None]:
    # The driver is read first: if it ended since, the jobs' files are newer and right.
    driver = read_driver_state(run)
    gone = _is_gone(driver)
    jobs = tuple(_job_status(run, job, _state_of(run, job)) for job in plan.jobs)
    if not gone or all(job.state in FINAL for job in jobs):
        return jobs, None
    error = "the driver is gone"
    marked: list[JobStatus] = []
    for job in jobs:
        if job.state == "running":
            marked.append(replace(job, state="failed", error=error))
        elif job.state == "pending":
            marked.append(replace(job, state="cancelled"))
        else:
            marked.append(job)
    return tuple(marked), f"{error}; see {run.driver_log}"


def _is_gone(driver: DriverState | None) -> bool:
    """Whether the driver died without saying so; on another host that cannot be known."""
    if driver is None or driver.state in FINAL or not driver.process.is_here:
        return False
    return not driver.process.is_alive()


def _slurm_jobs(run: RunFolder, plan: Plan, queue: Mapping[str, QueuedJob] | None) -> tuple[JobStatus, ...]:
    ids: dict[str, str] = read_json(run.job_ids) or {}
    if queue is None and _needs_queue(run, plan):
        queue = queued_jobs()
    jobs = []
    for job in plan.jobs:
        slurm_id = ids.get(job.name)
        queued = (queue or {}).get(slurm_id) if slurm_id else None
        own = _state_of(run, job)
        state, reason = (own, None) if slurm_id is None else join(run, own, slurm_id, queued)
        jobs.append(replace(_job_status(run, job, state), slurm_id=slurm_id, waits_for=reason))
    return tuple(jobs)


def _state_of(run: RunFolder, job: PlannedJob) -> JobState:
    return read_job_state(run, job.name) or JobState(job.name, job.stage, "pending", job.ranks)


def _job_status(run: RunFolder, job: PlannedJob, state: JobState) -> JobStatus:
    ranks = read_rank_states(run, job.name, job.ranks)
    failed = sorted((rank for rank in ranks if rank.state == "failed"), key=lambda rank: rank.ended or "")
    progress = read_json(run.progress(job.name))
    return JobStatus(
        job=job.name,
        stage=job.stage,
        variant=job.variant,
        state=state.state,
        ranks=job.ranks,
        ranks_started=len(ranks),
        started=state.started,
        ended=state.ended,
        seconds=state.seconds,
        error=state.error,
        progress=None if progress is None else Progress(**{k: progress[k] for k in _PROGRESS_KEYS}),
        slurm_id=None,
        waits_for=None,
        log=str(run.log(job.name, failed[0].rank if failed else 0)),
    )


_PROGRESS_KEYS = tuple(Progress.__dataclass_fields__)

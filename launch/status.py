"""How a run is, from what Slurm answers and from its own files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from launch.attempts import Attempt, Ending, read_attempts
from launch.plan import Plan, PlannedJob
from launch.slurm.answers import QueuedJob
from launch.slurm.batch_output import ended_by_slurm, last_attempt
from launch.slurm.queue_reasons import NEVER, reason_words
from launch.slurm.states import SlurmAnswers, ask_slurm, batch_text, join
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

DRIVER_GONE = "the driver is gone"


@dataclass(frozen=True)
class Progress:
    """How far a running job is."""

    step: int
    total: int
    unit: str
    loss: float | None
    seconds_per_step: float | None
    seconds_left: float | None
    tokens_per_second: float | None = None


@dataclass(frozen=True)
class JobStatus:
    """How one job is.

    Attributes:
        array: The array that a shard's job belongs to.
        ranks_started: In this attempt.
        nodes: Slurm's list of the nodes it runs or ran on.
        attempts: Every attempt that began; the last one is open while it runs.
        reason: Why it waits, in Slurm's words, and `waits_for` in ours.
        starts: When Slurm expects it to start, ISO 8601 in UTC.
        limit_seconds_left: Until its time limit.
        log: The log to look at first.
    """

    job: str
    stage: str
    variant: str | None
    shard: int | None
    array: str | None
    state: State
    ranks: int
    ranks_started: int
    nodes: str | None
    started: str | None
    ended: str | None
    seconds: float | None
    error: str | None
    progress: Progress | None
    attempts: tuple[Attempt, ...]
    slurm_id: str | None
    reason: str | None
    waits_for: str | None
    starts: str | None
    limit_seconds_left: int | None
    log: str


@dataclass(frozen=True)
class RunStatus:
    """How a run is.

    Attributes:
        cancelled: Who cancelled it and when, as `launch cancel` wrote it.
        note: Why this may be out of date.
    """

    run_id: str
    name: str
    cluster: str
    created: str
    state: State
    error: str | None
    failed_job: str | None
    jobs: tuple[JobStatus, ...]
    cancelled: dict[str, str] | None = None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_status(run: RunFolder, answers: SlurmAnswers | None = None) -> RunStatus:
    """Read how a run is; where Slurm gives no answer, from its files alone, with a note.

    Args:
        answers: What Slurm said, where it was asked already.

    Raises:
        UserError: The folder is not a whole run.
    """
    plan, identity = _plan(run), read_json(run.run)
    error = note = None
    if plan.cluster == "slurm":
        answers = answers or ask_slurm(_ids_to_ask(run, plan))
        jobs = _slurm_jobs(run, plan, answers)
        if answers.silent is not None:
            note = f"Slurm gives no answer, so this is what the run's own files say: {answers.silent}"
    else:
        jobs, error = _local_jobs(run, plan)
    failed = next((job for job in jobs if job.state == "failed"), None)
    return RunStatus(
        run_id=run.run_id,
        name=identity["name"],
        cluster=plan.cluster,
        created=identity["created"],
        state="failed" if error else run_state(jobs),
        error=error or (failed.error if failed else None),
        failed_job=failed.job if failed else None,
        jobs=jobs,
        cancelled=read_json(run.cancelled),
        note=note,
    )


def read_all(runs: Sequence[RunFolder]) -> list[RunStatus]:
    """Read how several runs are; Slurm is asked once for all."""
    ids = [slurm_id for run in runs for slurm_id in _ids_to_ask(run, _plan(run))]
    answers = ask_slurm(ids)
    return [read_status(run, answers) for run in runs]


def _plan(run: RunFolder) -> Plan:
    value = read_json(run.plan)
    if value is None:
        raise UserError(f"{run.root} is not a run: it lacks {run.plan.name}")
    return Plan.from_json(value)


def _ids_to_ask(run: RunFolder, plan: Plan) -> list[str]:
    """Slurm's ids of the jobs that have not ended, as far as the run knows."""
    ids: dict[str, str] = (read_json(run.job_ids) or {}) if plan.cluster == "slurm" else {}
    return [ids[job.name] for job in plan.jobs if job.name in ids and _state_of(run, job).state not in FINAL]


def run_state(jobs: Sequence[JobStatus]) -> State:
    """The state of several jobs together."""
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


def names(jobs: Sequence[JobStatus]) -> str:
    """The names of jobs, or of the first ones where there are many."""
    told = [job.job for job in jobs]
    return ", ".join(told) if len(told) < 6 else f"{', '.join(told[:4])} and {len(told) - 4} more"


def _local_jobs(run: RunFolder, plan: Plan) -> tuple[tuple[JobStatus, ...], str | None]:
    # The driver is read first: if it ended since, the jobs' files are newer and right.
    driver = read_driver_state(run)
    gone = _is_gone(driver)
    jobs = tuple(_job_status(run, job, _state_of(run, job)) for job in plan.jobs)
    if not gone or all(job.state in FINAL for job in jobs):
        return jobs, None
    error = DRIVER_GONE
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


def _slurm_jobs(run: RunFolder, plan: Plan, answers: SlurmAnswers) -> tuple[JobStatus, ...]:
    ids: dict[str, str] = read_json(run.job_ids) or {}
    jobs: dict[str, JobStatus] = {}
    for job in plan.jobs:
        slurm_id, own = ids.get(job.name), _state_of(run, job)
        if slurm_id is None:
            jobs[job.name] = _job_status(run, job, own)
            continue
        state, queued = join(run, job, own, slurm_id, answers)
        jobs[job.name] = _with_queue(
            run, job, replace(_job_status(run, job, state), slurm_id=slurm_id), queued
        )
    return tuple(_with_dependencies(job, jobs, plan.job(job.job).after) for job in jobs.values())


def _with_queue(run: RunFolder, planned: PlannedJob, job: JobStatus, queued: QueuedJob | None) -> JobStatus:
    """Add what only squeue knows."""
    if queued is None:
        return job
    if job.state == "running":
        return replace(job, nodes=queued.nodes or job.nodes, limit_seconds_left=queued.seconds_left)
    attempts = job.attempts
    if attempts and attempts[-1].cause is None and job.slurm_id:
        # Slurm ended it by itself, and only the next attempt can write that down.
        ending = ended_by_slurm(last_attempt(batch_text(run, planned, job.slurm_id)))
        attempts = (*attempts[:-1], attempts[-1].end(ending or Ending("interrupted")))
    return replace(
        job,
        nodes=None,
        ranks_started=0,
        attempts=attempts,
        reason=queued.reason,
        waits_for=reason_words(queued.reason),
        starts=queued.starts,
    )


def _with_dependencies(job: JobStatus, jobs: dict[str, JobStatus], after: tuple[str, ...]) -> JobStatus:
    """Name the jobs that one waits for."""
    if job.reason not in ("Dependency", NEVER):
        return job
    lost = [name for name in after if jobs[name].state in ("failed", "cancelled")]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        return replace(job, waits_for=f"never starts: {lost[0]}{more} {jobs[lost[0]].state}")
    missing = [name for name in after if jobs[name].state != "completed"]
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return replace(job, waits_for=f"waits for {missing[0]}{more}") if missing else job


def _state_of(run: RunFolder, job: PlannedJob) -> JobState:
    return read_job_state(run, job.name) or JobState(job.name, job.stage, "pending", job.ranks)


def _job_status(run: RunFolder, job: PlannedJob, state: JobState) -> JobStatus:
    attempts = read_attempts(run, job.name)
    # Files of ranks outlive their attempt until the next one writes them anew.
    number = attempts[-1].number if attempts else 1
    ranks = [rank for rank in read_rank_states(run, job.name, job.ranks) if rank.attempt == number]
    failed = sorted((rank for rank in ranks if rank.state == "failed"), key=lambda rank: rank.ended or "")
    progress = read_json(run.progress(job.name))
    return JobStatus(
        job=job.name,
        stage=job.stage,
        variant=job.variant,
        shard=job.shard,
        array=job.array,
        state=state.state,
        ranks=job.ranks,
        ranks_started=len(ranks),
        nodes=attempts[-1].nodes if attempts else None,
        started=state.started,
        ended=state.ended,
        seconds=state.seconds,
        error=state.error,
        progress=None if progress is None else Progress(**{k: progress.get(k) for k in _PROGRESS_KEYS}),
        attempts=tuple(attempts),
        slurm_id=None,
        reason=None,
        waits_for=None,
        starts=None,
        limit_seconds_left=None,
        log=str(run.log(job.name, failed[0].rank if failed else 0)),
    )


_PROGRESS_KEYS = tuple(Progress.__dataclass_fields__)

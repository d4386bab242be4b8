"""The attempts at a job: a file that says of each when, where and from where on it ran, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from typing import Literal

from launch.plan import PlannedJob
from launch.states import now, read_json
from rankfold import atomic
from rankfold.run_folder import RunFolder

Cause = Literal[
    "completed",
    "preempted",
    "time_limit",
    "interrupted",
    "node_failure",
    "killed",
    "hung",
    "no_progress",
    "setup_failed",
    "out_of_memory",
    "not_a_number",
    "disk_full",
    "user_error",
    "exception",
    "cancelled",
]
"""Why an attempt ended. `interrupted`: asked to stop by a signal that does not say why."""

TRIED_AGAIN: frozenset[Cause] = frozenset(
    {"preempted", "time_limit", "interrupted", "node_failure", "killed", "hung"}
)
"""What another attempt may get past; all else would end in the same way again."""

NOT_ITS_OWN: frozenset[Cause] = frozenset({"preempted", "node_failure"})
"""Ends that say nothing of the job: it may have been taken away long before it could have got further."""

MOST_WITHOUT_PROGRESS = 3
"""Attempts of one submission that may begin at the same place and end for reasons of their own."""

MOST_AT_ONE_PLACE = 10
"""The same with those that were taken away: a job that never keeps its nodes long enough needs others."""


@dataclass(frozen=True)
class Ending:
    """Why an attempt ended; `rank` is the one that failed first, None where none can be named."""

    cause: Cause
    error: str | None = None
    rank: int | None = None

    def __str__(self) -> str:
        words = self.error or self.cause.replace("_", " ")
        return words if self.rank is None else f"rank {self.rank}: {words}"


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job.

    Attributes:
        number: 1 for the first, over all submissions of the job.
        slurm_id: The job's id; the same for every requeue. None on this machine.
        nodes: Slurm's list of nodes, or this host.
        progress: Steps in a complete checkpoint, or work units there, when it began.
        cause: None while it runs, or where nothing could be written when it ended.
        rank: The rank that failed first, where one did.
    """

    number: int
    slurm_id: str | None
    nodes: str
    started: str
    progress: int
    ended: str | None = None
    cause: Cause | None = None
    error: str | None = None
    rank: int | None = None

    def end(self, ending: Ending, when: str | None = None) -> Attempt:
        """This attempt with its end, now or at a time that is known better."""
        ended = when or now()
        return replace(self, ended=ended, cause=ending.cause, error=ending.error, rank=ending.rank)


def read_attempts(run: RunFolder, job: str) -> list[Attempt]:
    """Every attempt at a job, the first one first."""
    return [Attempt(**value) for value in read_json(run.attempts(job)) or ()]


def write_attempts(run: RunFolder, job: str, attempts: list[Attempt]) -> None:
    """Write the attempts at a job."""
    atomic.write_json(run.attempts(job), [asdict(attempt) for attempt in attempts])


def begin_attempt(run: RunFolder, job: PlannedJob, *, slurm_id: str | None, nodes: str) -> Attempt:
    """Write that a job is tried, again or for the first time."""
    attempts = read_attempts(run, job.name)
    attempt = Attempt(len(attempts) + 1, slurm_id, nodes, now(), progress_of(run, job))
    write_attempts(run, job.name, [*attempts, attempt])
    return attempt


def end_attempt(run: RunFolder, job: str, ending: Ending, when: str | None = None) -> None:
    """Write how the last attempt ended."""
    *earlier, last = read_attempts(run, job)
    write_attempts(run, job, [*earlier, last.end(ending, when)])


def no_progress(job: PlannedJob, attempts: Sequence[Attempt], progress: int) -> Ending | None:
    """Say that another attempt is not worth it, where a submission's last ones all began at `progress`."""
    stuck = list(takewhile(lambda attempt: attempt.progress == progress, reversed(attempts)))
    own = [attempt for attempt in stuck if attempt.cause not in NOT_ITS_OWN]
    if len(own) < MOST_WITHOUT_PROGRESS and len(stuck) < MOST_AT_ONE_PLACE:
        return None
    last = stuck[0]
    place = {"train": f"step {progress}", "evaluate": f"{progress} work units"}.get(job.stage, "the start")
    cause = last.cause or "interrupted"
    error = f"{last.error or cause.replace('_', ' ')}; {len(stuck)} attempts in a row"
    advice = f"; raise resources.{job.stage}.time_limit_min" if cause == "time_limit" else ""
    return Ending("no_progress", f"{error} began at {place} and got no further{advice}", last.rank)


def progress_of(run: RunFolder, job: PlannedJob) -> int:
    """The step of the newest whole checkpoint, how many of the shard's work units are there, or 0."""
    if job.stage == "train":
        from rankfold.checkpoints import complete_steps

        return max(complete_steps(run.checkpoints), default=0)
    if job.stage == "evaluate" and job.variant is not None and job.shard is not None:
        # A unit exists once its manifest does; unit numbers go round the shards.
        numbers = (path.stem.removeprefix("unit-") for path in run.shards(job.variant).glob("unit-*.json"))
        return sum(int(number) % job.num_shards == job.shard for number in numbers)
    return 0

"""The attempts at a job: a file that says of each when, where and from where on it ran, and how it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from launch.states import read_json
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


def read_attempts(run: RunFolder, job: str) -> list[Attempt]:
    """Every attempt at a job, the first one first."""
    return [Attempt(**value) for value in read_json(run.attempts(job)) or ()]


def write_attempts(run: RunFolder, job: str, attempts: list[Attempt]) -> None:
    """Write the attempts at a job."""
    atomic.write_json(run.attempts(job), [asdict(attempt) for attempt in attempts])

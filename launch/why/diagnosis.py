"""What `launch why` says of a run, and what it knows of a cause."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from launch.attempts import Attempt, Cause
from launch.slurm.answers import AccountedJob, accounted_attempts, shown_job

Next = Literal[
    "resume", "logs", "batch", "smaller_batch", "more_memory", "more_time", "lower_rate", "fetch", "submit"
]
"""Kinds of next command; `launch.why.next_command` writes them out for a run."""


@dataclass(frozen=True)
class KnownCause:
    """One cause of failure.

    Attributes:
        name: A word for scripts.
        of: The causes of an attempt that this one may explain; it is looked for only there.
        pattern: Searched in the first failing rank's error and traceback, and in what the batch script wrote
            last. Its named groups may stand in `title`. Empty where only the attempt's cause says it.
        title: What happened, in one line.
        explanation: What that means.
        remedy: What helps.
        then: The next command.
        alone: The causes of an attempt that it explains without its pattern, if no other does with its own.
    """

    name: str
    of: tuple[Cause, ...]
    pattern: str
    title: str
    explanation: str
    remedy: str
    then: Next
    alone: tuple[Cause, ...] = ()

    def search(self, text: str) -> dict[str, str] | None:
        """The named groups of its pattern in a text; None where it is not there."""
        found = re.search(self.pattern, text, re.MULTILINE) if self.pattern else None
        return None if found is None else {name: value or "" for name, value in found.groupdict().items()}


@dataclass(frozen=True)
class Diagnosis:
    """Why a run is as it is.

    Attributes:
        cause: A word for scripts: the name of a known cause, or `completed`, `running`, `waiting`,
            `never_starts`, `cancelled`, `driver_gone`.
        job: The job that it is about.
        title: What happened, in one line.
        rank: The rank that failed first.
        evidence: Lines that show it, and the file they stand in.
        batch: The end of what the batch script wrote.
        slurm: What Slurm says of the job.
        consequences: What follows for other jobs.
        next: The command to type next.
    """

    run_id: str
    state: str
    cause: str
    title: str
    explanation: str
    remedy: str
    next: str
    job: str | None = None
    rank: int | None = None
    node: str | None = None
    error: str | None = None
    evidence: tuple[str, ...] = ()
    evidence_from: str | None = None
    batch: tuple[str, ...] = ()
    slurm: AccountedJob | None = None
    slurm_id: str | None = None
    attempts: tuple[Attempt, ...] = ()
    consequences: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def slurm_says(slurm_id: str | None) -> AccountedJob | None:
    """The controller's word on a job, or accounting's once the controller has forgotten it."""
    if slurm_id is None:
        return None
    attempts = accounted_attempts([slurm_id]).get(slurm_id)
    return shown_job(slurm_id) or (attempts[-1] if attempts else None)

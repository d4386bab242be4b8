"""What Slurm answers, typed: is it there, what is queued, cancel."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from rankfold.errors import OperationalError

COMMAND_TIMEOUT_S = 30
"""A busy controller answers late; one that is down answers never."""


@dataclass(frozen=True)
class QueuedJob:
    """A job as squeue tells it: `state` in Slurm's words, `reason` why it waits."""

    state: str
    reason: str


def slurm_answers() -> bool:
    """Whether jobs can be submitted from here."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return False
    try:
        answer = _run(["scontrol", "ping"])
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0 and " UP" in answer.stdout


def queued_jobs() -> dict[str, QueuedJob]:
    """This user's jobs that squeue still knows, by id; recently ended ones among them.

    Raises:
        OperationalError: Slurm does not answer.
    """
    command = ["squeue", "--noheader", "--me", "--states=all", "--format=%i|%T|%r"]
    try:
        answer = _run(command)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise OperationalError(f"squeue does not answer: {error}") from error
    if answer.returncode != 0:
        raise OperationalError(f"squeue does not answer: {answer.stderr.strip()}")
    rows = (line.strip().split("|", 2) for line in answer.stdout.splitlines() if line.strip())
    return {job_id: QueuedJob(state, reason) for job_id, state, reason in rows}


def cancel_jobs(job_ids: Sequence[str]) -> None:
    """Cancel jobs; those that have ended are passed over by scancel itself.

    Raises:
        OperationalError: Slurm does not answer.
    """
    if not job_ids:
        return
    try:
        answer = _run(["scancel", *job_ids])
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise OperationalError(f"scancel does not answer: {error}") from error
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        raise OperationalError(f"scancel failed: {answer.stderr.strip()}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)

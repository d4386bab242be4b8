"""How a job on Slurm is: squeue first, then accounting, then what its own files say."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from launch.attempts import read_attempts
from launch.plan import PlannedJob
from launch.slurm.answers import AccountedJob, QueuedJob, accounted_attempts, queued_jobs
from launch.slurm.batch import SETUP_FAILED
from launch.slurm.batch_output import ended_by_slurm, last_attempt
from launch.slurm.queue_reasons import NEVER, reason_words
from launch.states import FINAL, JobState, State
from rankfold.errors import OperationalError
from rankfold.run_folder import RunFolder

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "SUSPENDED")
AT_WORK = ("RUNNING", "COMPLETING", "RESIZING", "STAGE_OUT", "SIGNALING", "STOPPED")
STATE_WORDS = {
    "FAILED": "its batch script ended with an error",
    "TIMEOUT": "its time limit was over",
    "OUT_OF_MEMORY": "it used more memory than it had asked for",
    "NODE_FAIL": "a node failed",
    "BOOT_FAIL": "a node did not start",
    "PREEMPTED": "another job took its nodes",
    "DEADLINE": "its deadline had passed",
    "REVOKED": "it was moved to another cluster",
}
SETUP_LINE = re.compile(rf"^launch: ({SETUP_FAILED.removeprefix('launch: ')}.*)$", re.MULTILINE)
SRUN_ERROR = re.compile(r"^srun: error: (\S+: tasks? .*)$", re.MULTILINE)
"""`srun: error: node2: task 1: Killed`: the first such line names the rank that ended the others."""


@dataclass(frozen=True)
class SlurmAnswers:
    """What Slurm said of the jobs that were asked for.

    Attributes:
        silent: Why there is no answer, where Slurm gives none: then files are all there is.
    """

    queued: Mapping[str, QueuedJob] = field(default_factory=dict)
    accounted: Mapping[str, AccountedJob] = field(default_factory=dict)
    silent: str | None = None


def ask_slurm(job_ids: Iterable[str]) -> SlurmAnswers:
    """Ask squeue, and accounting for what squeue has forgotten."""
    wanted = set(job_ids)
    try:
        queued = queued_jobs(wanted)
    except OperationalError as error:
        return SlurmAnswers(silent=error.message)
    attempts = accounted_attempts(wanted - queued.keys())
    return SlurmAnswers(queued, {job_id: known[-1] for job_id, known in attempts.items()})


def join(
    run: RunFolder, job: PlannedJob, own: JobState, slurm_id: str, answers: SlurmAnswers
) -> tuple[JobState, QueuedJob | None]:
    """How a submitted job is, and what the queue says of it while it waits or runs.

    Args:
        own: What was written of the job last, read after Slurm was asked, so newer.
    """
    queued = answers.queued.get(slurm_id)
    state = queued.state if queued else None
    if own.state in FINAL or answers.silent is not None:
        # A job that has written its end may stay in the queue for a moment.
        return own, None
    if queued is None:
        ended = _forgotten(run, job, own, slurm_id, answers.accounted.get(slurm_id))
        return _with_srun_error(run, job, ended, slurm_id), None
    if state in WAITING:
        return replace(own, state="pending"), queued
    if state in AT_WORK:
        return replace(own, state="running"), queued
    ended = _ended(own, queued.state, queued.reason)
    return _with_srun_error(run, job, ended, slurm_id), None


def batch_text(run: RunFolder, job: PlannedJob, slurm_id: str) -> str:
    """What a job's batch script wrote over all its attempts: setup lines, srun's and Slurm's errors."""
    file = run.output(job.array or job.name, slurm_id)
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def user_name(number: int) -> str:
    """A user's name by number, or the number where this machine does not know it."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _forgotten(
    run: RunFolder, job: PlannedJob, own: JobState, slurm_id: str, known: AccountedJob | None
) -> JobState:
    """A job that squeue does not know any more; without accounting its output may still say how it ended."""
    if known is not None and known.state not in (*WAITING, *AT_WORK):
        by = None if known.cancelled_by is None else user_name(known.cancelled_by)
        return _ended(own, known.state, by=by)
    text = last_attempt(batch_text(run, job, slurm_id))
    ending = ended_by_slurm(text)
    if ending is not None:
        state: State = "cancelled" if ending.cause == "cancelled" else "failed"
        return replace(own, state=state, error=ending.error)
    setup = SETUP_LINE.search(text)
    if setup:
        return replace(own, state="failed", error=setup[1])
    if own.state == "running" or (text and not read_attempts(run, job.name)):
        return replace(own, state="failed", error="left Slurm's queue without finishing")
    return replace(own, state="cancelled", error="left Slurm's queue without starting")


def _ended(own: JobState, state: str, reason: str = "", by: str | None = None) -> JobState:
    if state == "COMPLETED":
        # The file that says so is written before the job ends, but a network file system may lag.
        return replace(own, state="completed")
    if state == "CANCELLED":
        cancelled = f"cancelled with scancel{f' by {by}' if by else ''}"
        return replace(own, state="cancelled", error=reason_words(NEVER) if reason == NEVER else cancelled)
    words = STATE_WORDS.get(state)
    return replace(own, state="failed", error=f"Slurm says {state}{f': {words}' if words else ''}")


def _with_srun_error(run: RunFolder, job: PlannedJob, ended: JobState, slurm_id: str) -> JobState:
    if ended.state != "failed":
        return ended
    found = SRUN_ERROR.search(batch_text(run, job, slurm_id))
    return replace(ended, error=f"{ended.error}; srun: {found[1]}") if found else ended

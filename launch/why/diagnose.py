"""Why a run is as it is: what failed first and why, or what it waits for; and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from launch.attempts import TRIED_AGAIN, Attempt, Cause
from launch.plan import Plan
from launch.slurm.answers import AccountedJob
from launch.slurm.batch import SETUP_FAILED
from launch.slurm.batch_output import ended_by_slurm, last_attempt
from launch.slurm.queue_reasons import never_starts
from launch.slurm.states import batch_text
from launch.states import read_driver_state, read_json
from launch.status import DRIVER_GONE, JobStatus, RunStatus, names, read_status
from launch.why.diagnosis import Diagnosis, KnownCause, slurm_says
from launch.why.evidence import Evidence, collect
from launch.why.known_causes import KNOWN_CAUSES
from launch.why.next_command import next_command
from launch.why.no_failure import cancelled, driver_gone, going
from launch.why.stacks import hang_words, odd_ranks, stack_lines
from rankfold.run_folder import RunFolder

SLURM_CAUSES: dict[str, Cause] = {
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "PREEMPTED": "preempted",
}
ENDED_FROM_OUTSIDE = ("node_failure", "preempted", "time_limit")
REMEDY_MARK = "\n  → "
"""Stands before the remedy in errors of `rankfold.errors`."""


def diagnose(run: RunFolder, name: str) -> Diagnosis:
    """Say why a run is as it is.

    Args:
        name: What stands for the run in commands.

    Raises:
        UserError: The folder is not a whole run.
    """
    status = read_status(run)
    # What failed first made the others fail or wait for ever.
    failed = sorted((job for job in status.jobs if job.state == "failed"), key=lambda job: job.ended or "~")
    driver = read_driver_state(run)
    if (status.error or "").startswith(DRIVER_GONE) or (driver and driver.state == "failed" and not failed):
        return driver_gone(run, name, status)
    if failed:
        return _failure(run, name, status, failed[0])
    if status.state == "cancelled":
        return cancelled(run, name, status)
    if status.state == "completed":
        return Diagnosis(
            status.run_id, "completed", "completed", "every job completed", "", "", f"launch report {name}"
        )
    return going(name, status)


def _failure(run: RunFolder, name: str, status: RunStatus, job: JobStatus) -> Diagnosis:
    plan = Plan.from_json(read_json(run.plan))
    planned = plan.job(job.job)
    told = slurm_says(job.slurm_id)
    batch = last_attempt(batch_text(run, planned, job.slurm_id)) if job.slurm_id else ""
    attempt = _last_attempt(job, batch)
    cause = _cause(job, attempt, told, batch)
    evidence = collect(run, planned, attempt, ranks_began=attempt is not None or not job.attempts)
    if cause in ENDED_FROM_OUTSIDE:
        # All of its ranks were killed; which of them srun names first explains nothing.
        evidence = replace(evidence, rank=None, node=None, error="", lines=(), log=None)
    # What Slurm says is about the job as a whole; a rank's own words say more.
    error = evidence.error or job.error or ""
    tried = [attempt.cause for attempt in job.attempts if attempt.cause not in (None, "no_progress")]
    underlying = tried[-1] if cause == "no_progress" and tried else cause
    known, groups = match(underlying, [error, *evidence.lines], _searched(underlying, evidence))
    title, remedy = known.title.format_map(groups), known.remedy
    if known.name in ("exception", "user_error") and error:
        message, _, own_remedy = error.partition(REMEDY_MARK)
        title, remedy = message.splitlines()[0], own_remedy or remedy
    if known.name == "hung":
        title = f"{title}: {hang_words(evidence.stacks, planned.ranks)}"
        evidence = _odd_stack(run, evidence, planned.name)
    if underlying != cause:
        title += f"; tried {len(job.attempts)} times, and never got further"
    return Diagnosis(
        run_id=status.run_id,
        state=status.state,
        cause=known.name if underlying == cause else "no_progress",
        title=title,
        explanation=known.explanation,
        remedy=remedy,
        next=next_command(known.then, run, name, planned, evidence.rank),
        job=job.job,
        rank=evidence.rank,
        node=evidence.node,
        error=error or None,
        evidence=evidence.lines,
        evidence_from=str(evidence.log) if evidence.log else None,
        batch=evidence.batch,
        slurm=told,
        slurm_id=job.slurm_id,
        attempts=job.attempts,
        consequences=_consequences(status, job),
    )


def match(
    cause: Cause | None, rank: Sequence[str], batch: Sequence[str]
) -> tuple[KnownCause, dict[str, str]]:
    """Find the known cause that explains an attempt's cause best; what the rank says counts most.

    Args:
        cause: Why the attempt ended; None where nobody could write it down.
    """
    wanted: Cause = cause or "exception"
    for text in ("\n".join(rank), "\n".join(batch)):
        for known in KNOWN_CAUSES:
            groups = known.search(text) if wanted in known.of else None
            if groups is not None:
                return known, groups
    return next(known for known in KNOWN_CAUSES if wanted in known.alone), {}


def _searched(cause: Cause | None, evidence: Evidence) -> Sequence[str]:
    """The batch output, where no rank said what happened: srun also tells of ranks that it ended itself."""
    told = cause == "user_error" or (cause in (None, "exception") and evidence.lines)
    return () if told else evidence.batch


def _last_attempt(job: JobStatus, batch: str) -> Attempt | None:
    """The attempt that failed; None where the setup failed before it was written down."""
    last = job.attempts[-1] if job.attempts else None
    if last is None or SETUP_FAILED in batch:
        return None
    return last if job.slurm_id in (None, last.slurm_id) else None


def _cause(job: JobStatus, last: Attempt | None, told: AccountedJob | None, batch: str) -> Cause | None:
    """Why the last attempt ended: as it was written down, else as Slurm says it."""
    if last is not None and last.cause is not None and last.cause not in TRIED_AGAIN:
        return last.cause
    if told is not None and told.state in SLURM_CAUSES:
        return SLURM_CAUSES[told.state]
    if job.slurm_id and last is None:
        # It did not get as far as writing that it began.
        return "setup_failed"
    if last is not None and last.cause is not None:
        return last.cause
    error = job.error or ""
    if "the time limit of" in error:
        return "time_limit"
    if "was killed by signal" in error or "Killed" in error:
        return "killed"
    ending = ended_by_slurm(batch)
    return ending.cause if ending else None


def _odd_stack(run: RunFolder, evidence: Evidence, job: str) -> Evidence:
    """Show the stack of the rank that stood elsewhere."""
    if not evidence.stacks:
        return evidence
    odd = odd_ranks(evidence.stacks) or [min(evidence.stacks)]
    lines = tuple(stack_lines(evidence.stacks[odd[0]]))
    return replace(evidence, rank=odd[0], lines=lines, log=run.log(job, odd[0]))


def _consequences(status: RunStatus, failed: JobStatus) -> tuple[str, ...]:
    others = [job for job in status.jobs if job.state == "failed" and job != failed]
    lost = [job for job in status.jobs if job.state == "cancelled" or never_starts(job.reason)]
    alive = [job for job in status.jobs if job.state == "running"]
    told = []
    if others:
        told.append(f"failed after it: {names(others)}")
    if lost:
        told.append(f"will not run because of it: {names(lost)}")
    if alive:
        told.append(f"still running: {names(alive)}")
    return tuple(told)

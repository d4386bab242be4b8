"""Why a run in which no job failed is as it is: cancelled, waiting, running, or without its driver."""

from __future__ import annotations

from dataclasses import replace

from launch.slurm.answers import accounted_attempts
from launch.slurm.queue_reasons import never_starts
from launch.slurm.states import user_name
from launch.states import read_driver_state
from launch.status import JobStatus, RunStatus, names
from launch.status_text import job_words
from launch.why.diagnosis import Diagnosis, slurm_says
from rankfold.run_folder import RunFolder


def cancelled(run: RunFolder, name: str, status: RunStatus) -> Diagnosis:
    """A run that was stopped on purpose."""
    stopped = [job for job in status.jobs if job.state == "cancelled"]
    job = next((job for job in stopped if job.started or job.attempts), stopped[0])
    stuck = next((job for job in status.jobs if job.state == "pending" and never_starts(job.reason)), None)
    how = _how_cancelled(run, status, job)
    cause, title, following = "cancelled", f"it was cancelled {how}", f"launch resume {name}"
    explanation, remedy = (
        f"Stopped, or never started: {names(stopped)}.",
        "Go on with it: what is complete is kept.",
    )
    if stuck:
        cause, title = "never_starts", f"{stuck.job} {stuck.waits_for}"
        explanation = f"{job.job} was cancelled {how}."
        remedy, following = "Cancel what still waits, then `launch resume` goes on.", f"launch cancel {name}"
    told = _about(status, job, cause, title, explanation, remedy, following)
    return replace(told, slurm=slurm_says(job.slurm_id))


def _how_cancelled(run: RunFolder, status: RunStatus, job: JobStatus) -> str:
    if status.cancelled:
        return f"by {status.cancelled.get('by')} with launch cancel, at {status.cancelled.get('when')}"
    if status.cluster == "slurm":
        return f"with scancel{_by(job.slurm_id)}, not with launch cancel"
    driver = read_driver_state(run)
    return ((driver.error if driver else None) or "by a signal to its driver").removeprefix("cancelled ")


def _by(slurm_id: str | None) -> str:
    """Who cancelled a job, as far as accounting knows."""
    attempts = accounted_attempts([slurm_id]).get(slurm_id) if slurm_id else None
    if not attempts or attempts[-1].cancelled_by is None:
        return ""
    return f" by {user_name(attempts[-1].cancelled_by)}"


def driver_gone(run: RunFolder, name: str, status: RunStatus) -> Diagnosis:
    """A run on this machine whose driver ended before it."""
    driver = read_driver_state(run)
    words = (driver.error if driver and driver.error else status.error) or ""
    return Diagnosis(
        run_id=status.run_id,
        state=status.state,
        cause="driver_gone",
        title="the process that drives the run on this machine is gone",
        explanation=f"It was killed, or the machine was restarted: {words}",
        remedy="Go on with it: what was complete is kept.",
        next=f"launch resume {name}",
        job=status.failed_job,
        evidence_from=str(run.driver_log),
    )


def going(name: str, status: RunStatus) -> Diagnosis:
    """A run that goes well, waits, or will wait for ever."""
    stuck = next((job for job in status.jobs if never_starts(job.reason)), None)
    running = next((job for job in status.jobs if job.state == "running"), None)
    waiting = next((job for job in status.jobs if job.state == "pending"), None)
    job = stuck or running or waiting
    if job is None:
        raise ValueError(f"{status.run_id} is {status.state} without a job that is")
    if status.note:
        return _unknown(status, job)
    explanation = ""
    if job.attempts and job.attempts[-1].number > 1 - (job.state == "pending"):
        ended = [f"{attempt.number}: {attempt.cause}" for attempt in job.attempts if attempt.cause]
        explanation = f"Earlier attempts ended ({', '.join(ended)}); it goes on from its last checkpoint."
    if stuck:
        cause, title = "never_starts", f"{job.job} {job.waits_for}"
        remedy, following = "Cancel it, correct what it asks for, and submit again.", f"launch cancel {name}"
    elif running:
        cause, title = "running", f"{job.job} runs {job_words(job)}".rstrip()
        remedy, following = "Nothing to do.", f"launch logs -f {name} --stage {job.job}"
    else:
        words = job_words(job) or "the jobs before it have not completed, or the driver has not started it"
        cause, title = "waiting", f"{job.job} waits: {words}"
        remedy, following = "Nothing to do.", f"launch status {name}"
        if "scontrol release" in words:
            remedy, following = "Let it go.", f"scontrol release {job.slurm_id}"
    return _about(status, job, cause, title, explanation, remedy, following)


def _about(
    status: RunStatus, job: JobStatus, cause: str, title: str, explanation: str, remedy: str, following: str
) -> Diagnosis:
    return Diagnosis(
        run_id=status.run_id,
        state=status.state,
        cause=cause,
        title=title,
        explanation=explanation,
        remedy=remedy,
        next=following,
        job=job.job,
        slurm_id=job.slurm_id,
        attempts=job.attempts,
    )


def _unknown(status: RunStatus, job: JobStatus) -> Diagnosis:
    """A run on a Slurm that gives no answer."""
    return Diagnosis(
        run_id=status.run_id,
        state=status.state,
        cause="slurm_silent",
        title=f"Slurm gives no answer; when it last wrote, {job.job} was {job.state}",
        explanation=status.note or "",
        remedy="Ask again once Slurm answers.",
        next="scontrol ping",
        job=job.job,
        slurm_id=job.slurm_id,
        attempts=job.attempts,
    )

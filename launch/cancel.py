"""Stopping a run from another process."""

from __future__ import annotations

import os
import signal
import socket
import time

from launch.attempts import Ending, end_attempt, read_attempts
from launch.plan import Plan
from launch.processes import end_group
from launch.slurm.answers import cancel_jobs, queued_jobs
from launch.slurm.states import user_name
from launch.states import (
    FINAL,
    DriverState,
    mark_cancelled,
    now,
    read_driver_state,
    read_job_state,
    read_json,
)
from launch.status import JobStatus, RunStatus, read_status
from launch.why.failures import settle_ranks
from rankfold import atomic
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder

DRIVER_PATIENCE_S = 20.0
"""The driver itself gives ranks some seconds between TERM and KILL."""
RANK_PATIENCE_S = 5.0
QUEUE_PATIENCE_S = 10.0
QUEUE_POLL_S = 0.3


def cancel_run(run: RunFolder) -> tuple[JobStatus, ...]:
    """Stop a run and mark what has not ended as cancelled.

    Returns:
        The jobs that had not ended, as they were; none if the whole run had.

    Raises:
        UserError: It runs on another host, where this process cannot reach it.
        OperationalError: Slurm does not answer.
    """
    status = read_status(run)
    stopped = tuple(job for job in status.jobs if job.state not in FINAL)
    driver = read_driver_state(run)
    if driver is not None and driver.state in FINAL:
        driver = None
    if not stopped and driver is None:
        return ()
    if driver is not None and not driver.process.is_here:
        host = driver.process.host
        raise UserError(f"it runs on {host}", remedy=f"Cancel it there: ssh {host}.")
    # Before anything is stopped, so that nothing that stops is tried again.
    atomic.write_json(
        run.cancelled, {"when": now(), "by": f"{user_name(os.getuid())} on {socket.gethostname()}"}
    )
    if status.cluster == "slurm":
        _cancel_on_slurm([job.slurm_id for job in stopped if job.slurm_id])
    elif driver is not None:
        _stop_driver(driver)
        # A driver that was stopped in an orderly way has written its own last words.
        last = read_driver_state(run)
        if last is not None and last.state not in FINAL:
            last.end("cancelled").write(run)
    _mark(run, status)
    return stopped


def _cancel_on_slurm(ids: list[str]) -> None:
    """Cancel jobs until none waits or runs: one that was being requeued comes back from its first cancel."""
    deadline = time.monotonic() + QUEUE_PATIENCE_S
    cancel_jobs(ids)
    while time.monotonic() < deadline:
        queued = queued_jobs(ids)
        left = [job_id for job_id, job in queued.items() if job.state in ("PENDING", "RUNNING", "REQUEUED")]
        if not left:
            return
        cancel_jobs(left)
        time.sleep(QUEUE_POLL_S)


def _mark(run: RunFolder, status: RunStatus) -> None:
    """Write the end of all that was stopped, or had ended before, and could not write it."""
    plan = Plan.from_json(read_json(run.plan))
    for known in status.jobs:
        own = read_job_state(run, known.job)
        if known.state in FINAL and own is not None and own.state not in FINAL:
            own.end(known.state, known.error).write(run)
    mark_cancelled(run, plan)
    for job in plan.jobs:
        settle_ranks(run, job, None)
        attempts = read_attempts(run, job.name)
        if attempts and attempts[-1].ended is None:
            end_attempt(run, job.name, Ending("cancelled", "the run was cancelled"))


def _stop_driver(driver: DriverState) -> None:
    process = driver.process
    if process.is_alive():
        os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + DRIVER_PATIENCE_S
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    for group in driver.groups.values():
        if group.is_alive():
            end_group(group.pid, RANK_PATIENCE_S)

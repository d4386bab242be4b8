"""Stopping a run from another process."""

from __future__ import annotations

import os
import signal
import time

from launch.failures import settle_ranks
from launch.plan import Plan
from launch.processes import end_group
from launch.slurm import cancel_jobs
from launch.states import FINAL, DriverState, mark_cancelled, read_driver_state, read_json
from launch.status import read_status
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder

DRIVER_PATIENCE_S = 20.0
"""The driver itself gives ranks some seconds between TERM and KILL."""
RANK_PATIENCE_S = 5.0


def cancel_run(run: RunFolder) -> bool:
    """Stop a run and mark what has not ended as cancelled; False if it had ended already.

    Raises:
        UserError: It runs on another host, where this process cannot reach it.
        OperationalError: Slurm does not answer.
    """
    plan = Plan.from_json(read_json(run.plan))
    driver = read_driver_state(run)
    if plan.cluster == "slurm":
        if read_status(run).state in FINAL:
            return False
        cancel_jobs(list((read_json(run.job_ids) or {}).values()))
    elif driver is not None:
        if driver.state in FINAL:
            return False
        _stop_driver(driver)
        # A driver that was stopped in an orderly way has written its own last words.
        last = read_driver_state(run)
        if last is not None and last.state not in FINAL:
            last.end("cancelled").write(run)
    mark_cancelled(run, plan)
    for job in plan.jobs:
        settle_ranks(run, job, None)
    return True


def _stop_driver(driver: DriverState) -> None:
    process = driver.process
    if not process.is_here:
        raise UserError(f"it runs on {process.host}", remedy=f"Cancel it there: ssh {process.host}.")
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

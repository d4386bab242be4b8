"""The driver: a process of its own that carries out a plan on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from launch.job import RankJob
from launch.local.driving import Driver, MakeTask
from launch.machine import this_machine
from launch.plan import Plan, PlannedJob
from launch.states import read_driver_state, read_json
from launch.sweeps import wait_for_turn
from rankfold.errors import OperationalError
from rankfold.run_folder import RunFolder

START_TIMEOUT_S = 60.0


def start_driver(run: RunFolder) -> int:
    """Start the driver of a run, detached from this terminal, and return its pid.

    Raises:
        OperationalError: It ended, or said nothing for a minute.
    """
    with run.driver_log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "launch.local.driver", str(run.root)],
            # A folder called launch or rankfold where the user stands must not take the package's place.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while read_driver_state(run) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            # One that only was slow would start the run after all, which the caller takes back.
            process.kill()
            process.wait()
            raise OperationalError(
                f"the driver process did not start: {_last_line(run.driver_log)}",
                where=str(run.driver_log),
            )
        time.sleep(0.02)
    # It is meant to outlive this process, which must not warn about that.
    process.returncode = 0
    return process.pid


def rank_job(run: RunFolder, job: PlannedJob, gpus: tuple[str, ...]) -> Callable[[], None]:
    """What the ranks of a job run on this machine."""
    return RankJob.of(run, job, gpus=gpus)


def drive(run: RunFolder, make_task: MakeTask = rank_job) -> int:
    """Carry out a run's plan; return the exit code. TERM, INT and HUP cancel it."""
    driver = Driver(run, Plan.from_json(read_json(run.plan)), this_machine(), make_task)

    def cancel(number: int, _frame: FrameType | None) -> None:
        driver.cancel(f"cancelled by {signal.Signals(number).name}")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, cancel)
    try:
        wait_for_turn(run, lambda: driver.is_cancelled)
        return driver.run_plan()
    except Exception as error:
        traceback.print_exc()
        driver.abandon(f"the driver failed: {type(error).__name__}: {error}")
        return 1


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it wrote nothing"


if __name__ == "__main__":
    sys.exit(drive(RunFolder(Path(sys.argv[1]))))

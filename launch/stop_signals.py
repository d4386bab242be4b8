"""Slurm's warnings: signals that ask a rank to stop at a safe point, where they would have ended it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

from launch.attempts import read_attempts
from launch.plan import Plan
from launch.profiles.profile import ClusterProfile
from launch.states import read_json
from rankfold.lifeline import Lifeline
from rankfold.run_folder import RunFolder

STOP_SIGNALS = (signal.SIGUSR2, signal.SIGTERM)
"""USR2 comes ahead of the time limit or a preemption, TERM with a preemption, a requeue or scancel."""

TIME_LIMIT = "time limit"
PREEMPTION = "preemption or requeue"
CANCELLED = "the run was cancelled"

EARLY_S = 60
"""sbatch(1), --signal: the signal may be sent up to 60 seconds earlier than specified."""


@dataclass(frozen=True)
class Reasons:
    """What can be known of the reason for a signal; read beforehand, so that none can get lost over it.

    Attributes:
        cancelled: A file that is there once somebody cancelled the run.
        limit_from: From when on a signal may announce the time limit, in seconds of time.time().
    """

    cancelled: Path
    limit_from: float | None

    @classmethod
    def of(cls, run: RunFolder, job: str) -> Reasons:
        limit_min = Plan.from_json(read_json(run.plan)).job(job).time_limit_min
        end, profile = _end_time(run, job, limit_min), read_json(run.profile)
        delay_s = ClusterProfile.from_json(profile).warning_s(limit_min) if profile else 0
        return cls(run.cancelled, None if end is None else end - delay_s - EARLY_S)

    def why(self) -> str:
        """The reason for a signal that came just now."""
        if self.cancelled.is_file():
            return CANCELLED
        return TIME_LIMIT if self.limit_from is not None and time.time() >= self.limit_from else PREEMPTION


def heed(lifeline: Lifeline, why: Callable[[], str]) -> None:
    """Have the signals ask to stop; call this before anything is imported that starts threads or processes.

    Slurm signals every process of a step. They are blocked in this thread, and so in all that it starts from
    now on and in all children, through exec too: a loader's worker or a shell would die of them.
    """

    def ask(number: int, frame: FrameType | None = None) -> None:
        lifeline.ask_to_stop(why())

    def watch() -> None:
        while True:
            ask(signal.sigwait(STOP_SIGNALS))

    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    for number in STOP_SIGNALS:
        # Threads that were there before, such as numpy's, still take them; this then runs in the main one.
        signal.signal(number, ask)
    threading.Thread(target=watch, name="stop signals", daemon=True).start()


def _end_time(run: RunFolder, job: str, limit_min: int) -> float | None:
    """When the time limit ends this attempt, in seconds of time.time(), where that is known."""
    known = os.environ.get("SLURM_JOB_END_TIME", "")
    if known.isdecimal():
        return float(known)
    attempts = read_attempts(run, job)
    if not attempts:
        return None
    return datetime.fromisoformat(attempts[-1].started).timestamp() + 60 * limit_min

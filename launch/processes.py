"""Processes: naming them so that a reused pid is not mistaken for them, and ending them."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Process:
    """A process of one host; `started` (clock ticks since boot) tells it from a later one with its pid."""

    pid: int
    started: str
    host: str

    @classmethod
    def this(cls) -> Process:
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Process:
        return cls(pid, _start_time(pid) or "", socket.gethostname())

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Process:
        return cls(value["pid"], value["started"], value["host"])

    @property
    def is_here(self) -> bool:
        """Whether this is the host the process runs on, the only one that can look at it."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        started = _start_time(self.pid)
        return started is not None and started == self.started


def end_group(pid: int, patience_s: float) -> None:
    """End a process group: TERM, then KILL for what is left of it after `patience_s`."""
    if not _signal_group(pid, signal.SIGTERM):
        return
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and _start_time(pid) is not None:
        time.sleep(0.05)
    _signal_group(pid, signal.SIGKILL)


def _signal_group(pid: int, number: signal.Signals) -> bool:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True


def _start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat, or None where the process is gone or a zombie (proc(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold spaces and parentheses itself: count from its end.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields[19]

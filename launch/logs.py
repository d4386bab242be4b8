"""The logs of a run's ranks, as one stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launch.plan import Plan
from launch.states import FINAL, read_json
from launch.status import read_status
from rankfold.run_folder import RunFolder

POLL_S = 0.5


@dataclass
class _Log:
    """A log that is being read: where it was left, and an unfinished last line."""

    label: str
    path: Path
    position: int = 0
    rest: bytes = b""

    def new_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.position)
            content = file.read()
        self.position += len(content)
        *lines, self.rest = (self.rest + content).split(b"\n")
        return [_shown(line) for line in lines]

    def last_line(self) -> list[str]:
        """What stands after the last line end, once nothing more will come."""
        rest, self.rest = self.rest, b""
        return [_shown(rest)] if rest else []


def log_lines(
    run: RunFolder, *, stage: str | None, rank: int | None, lines: int | None, follow: bool
) -> Iterator[str]:
    """Yield lines as `job/rank: text`, oldest job first; with `follow` until the run ends.

    Args:
        lines: Only the last so many lines of each log that are there at the beginning.
    """
    logs = _logs(run, stage, rank)
    ended = not follow or read_status(run).state in FINAL
    for log in logs:
        new = log.new_lines() + (log.last_line() if ended else [])
        yield from _labelled(log, new if lines is None else new[len(new) - min(lines, len(new)) :])
    while not ended:
        time.sleep(POLL_S)
        # The state is read before the logs, so that nothing is missed at the end.
        ended = read_status(run).state in FINAL
        for log in logs:
            yield from _labelled(log, log.new_lines() + (log.last_line() if ended else []))


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of one log."""
    log = _Log("", path)
    return (log.new_lines() + log.last_line())[-lines:]


def _logs(run: RunFolder, stage: str | None, rank: int | None) -> list[_Log]:
    plan = Plan.from_json(read_json(run.plan))
    return [
        _Log(f"{job.name}/{number}", run.log(job.name, number))
        for job in plan.jobs
        if stage is None or stage in (job.stage, job.name)
        for number in range(job.ranks)
        if rank is None or rank == number
    ]


def _labelled(log: _Log, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield f"{log.label}: {line}"


def _shown(line: bytes) -> str:
    """What a terminal would show of a line: a progress bar's last state."""
    return line.decode(errors="replace").rstrip("\r").rsplit("\r", 1)[-1]

"""The logs of a run's ranks and batch scripts, as one stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from launch.attempts import read_attempts
from launch.plan import Plan, PlannedJob
from launch.states import FINAL, read_json
from launch.status import read_status
from rankfold.run_folder import RunFolder

POLL_S = 0.5
SLURM_ROUNDS = 10
"""Logs are read as often as on this machine, but the controller that everybody shares is asked less often."""


@dataclass(frozen=True)
class LogLine:
    """One line that a rank wrote, or a job's batch script where `rank` is None."""

    job: str
    stage: str
    rank: int | None
    line: str

    def __str__(self) -> str:
        return f"{self.job}/{'batch' if self.rank is None else self.rank}: {self.line}"


@dataclass
class _Log:
    """A log that is being read: where it was left, and an unfinished last line."""

    path: Path
    job: str = ""
    stage: str = ""
    rank: int | None = None
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

    def labelled(self, lines: list[str]) -> Iterator[LogLine]:
        return (LogLine(self.job, self.stage, self.rank, line) for line in lines)


def log_lines(
    run: RunFolder, *, stage: str | None, rank: int | None, lines: int | None, follow: bool
) -> Iterator[LogLine]:
    """Yield the lines of all logs, oldest job first; with `follow` until the run ends.

    Args:
        stage: Only a stage, or a job by its name.
        rank: Only one rank, and no batch script.
        lines: Only the last so many lines of each log that are there at the beginning.
    """
    plan = Plan.from_json(read_json(run.plan))
    jobs = [job for job in plan.jobs if stage is None or stage in (job.stage, job.name)]
    logs: dict[Path, _Log] = {}
    _find(run, jobs, rank, logs)
    ended = not follow or read_status(run).state in FINAL
    for log in logs.values():
        new = log.new_lines() + (log.last_line() if ended else [])
        yield from log.labelled(new if lines is None else new[len(new) - min(lines, len(new)) :])
    rounds_a_look = SLURM_ROUNDS if plan.cluster == "slurm" else 1
    for number in count(1):
        if ended:
            return
        time.sleep(POLL_S)
        # The state is read before the logs, so that nothing is missed at the end.
        ended = number % rounds_a_look == 0 and read_status(run).state in FINAL
        _find(run, jobs, rank, logs)
        for log in logs.values():
            yield from log.labelled(log.new_lines() + (log.last_line() if ended else []))


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of one log."""
    log = _Log(path)
    return (log.new_lines() + log.last_line())[-lines:]


def batch_outputs(run: RunFolder, job: PlannedJob) -> list[Path]:
    """Where a job's batch script wrote, one file for each time the job was submitted."""
    ids = [attempt.slurm_id for attempt in read_attempts(run, job.name)]
    ids.append((read_json(run.job_ids) or {}).get(job.name))
    return [run.output(job.array or job.name, slurm_id) for slurm_id in dict.fromkeys(ids) if slurm_id]


def _find(run: RunFolder, jobs: list[PlannedJob], rank: int | None, logs: dict[Path, _Log]) -> None:
    """Add the logs that are not known yet: a job that is submitted again has new ones."""
    for job in jobs:
        for path in batch_outputs(run, job) if rank is None else ():
            logs.setdefault(path, _Log(path, job.name, job.stage))
        for number in range(job.ranks):
            if rank is None or rank == number:
                path = run.log(job.name, number)
                logs.setdefault(path, _Log(path, job.name, job.stage, number))


def _shown(line: bytes) -> str:
    """What a terminal would show of a line: a progress bar's last state."""
    return line.decode(errors="replace").rstrip("\r").rsplit("\r", 1)[-1]

"""Watching a run until it ends, from its folder alone: the same for Slurm and for this machine."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from launch.logs import tail
from launch.report import report_lines
from launch.states import FINAL
from launch.status import JobStatus, RunStatus, read_status, run_state
from launch.status_text import (
    CAUSE_WORDS,
    elapsed,
    failure_lines,
    group_name,
    group_words,
    grouped,
    progress_words,
    state_words,
)
from launch.tables import duration, is_terminal
from rankfold.errors import EXIT_OPERATIONAL
from rankfold.run_folder import RunFolder

if TYPE_CHECKING:
    from rich.table import Table

LOCAL_POLL_S = 0.5
SLURM_POLL_S = 5.0
"""squeue asks the controller that everybody shares."""
PROGRESS_EVERY_S = 10.0
LOG_LINES = 20


def follow_run(run: RunFolder) -> int:
    """Follow a run as `follow` does; Ctrl-C leaves it alone and says how to go on."""
    folder = shlex.quote(str(run.root))
    try:
        return follow(run)
    except KeyboardInterrupt:
        print(
            f"\n{run.run_id} goes on without this terminal."
            f"\n  launch status {folder}\n  launch cancel {folder}",
            file=sys.stderr,
        )
        return EXIT_OPERATIONAL


def follow(run: RunFolder) -> int:
    """Show a run's progress until it ends, then its report or what failed; return the exit code.

    Raises:
        KeyboardInterrupt: The user has seen enough; the run goes on.
    """
    status = read_status(run)
    watch = _watch_live if is_terminal() else _watch_plainly
    status = watch(run, status)
    if status.state == "completed":
        print()
        for line in report_lines(run):
            print(line)
        return 0
    for line in _ending_lines(run, status):
        print(line, flush=True)
    return 1


def _ending_lines(run: RunFolder, status: RunStatus) -> Iterator[str]:
    """Say why a run did not complete, with the end of the log that tells."""
    yield from failure_lines(status, color=is_terminal())
    failed = next((job for job in status.jobs if job.state == "failed"), None)
    if failed is not None and Path(failed.log).is_file():
        yield f"its last {LOG_LINES} lines:"
        yield from (f"  {line}" for line in tail(Path(failed.log), LOG_LINES))
    if status.state == "cancelled":
        yield f"{status.run_id} was cancelled"
    else:
        yield f"more: launch why {shlex.quote(str(run.root))}"


def _poll_until_ended(run: RunFolder, status: RunStatus, show: Callable[[RunStatus], None]) -> RunStatus:
    pause = SLURM_POLL_S if status.cluster == "slurm" else LOCAL_POLL_S
    show(status)
    while status.state not in FINAL:
        time.sleep(pause)
        status = read_status(run)
        show(status)
    return status


@dataclass
class PlainView:
    """One line whenever a job starts or ends, and at most every ten seconds for progress."""

    started: datetime
    clock: Callable[[], float] = time.monotonic
    _states: dict[str, str] = field(default_factory=dict)
    _told: dict[str, tuple[float, int]] = field(default_factory=dict)
    _waits: dict[str, str] = field(default_factory=dict)

    def lines(self, status: RunStatus) -> Iterator[str]:
        """Yield what is new since the last call."""
        since = duration((datetime.now(UTC) - self.started).total_seconds()).rjust(5, "0")
        for job in status.jobs:
            for text in self._news(job):
                yield f"{since} {job.job} {text}"

    def _news(self, job: JobStatus) -> Iterator[str]:
        before = self._states.get(job.job, "pending")
        self._states[job.job] = job.state
        if job.state == "pending":
            yield from self._waiting(job, before)
        elif before == "pending" and job.started:
            number = job.attempts[-1].number if job.attempts else 1
            again = f", attempt {number}" if number > 1 else ""
            yield f"started, {job.ranks} {'rank' if job.ranks == 1 else 'ranks'}{again}"
        if job.state == "running" and job.progress:
            last, step = self._told.get(job.job, (-PROGRESS_EVERY_S, -1))
            if self.clock() - last >= PROGRESS_EVERY_S and job.progress.step != step:
                self._told[job.job] = self.clock(), job.progress.step
                yield progress_words(job.progress)
        if job.state in FINAL and before not in FINAL:
            yield _end_words(job)

    def _waiting(self, job: JobStatus, before: str) -> Iterator[str]:
        """Tell once why a job waits that may start, and that one will run again."""
        if before == "running" and job.attempts:
            yield f"stopped after {CAUSE_WORDS[job.attempts[-1].cause or 'interrupted']}, and will run again"
        if job.waits_for and job.reason != "Dependency" and self._waits.get(job.job) != job.reason:
            self._waits[job.job] = job.reason or ""
            yield f"waits: {job.waits_for}"


def _end_words(job: JobStatus) -> str:
    if job.state == "completed":
        last = job.progress
        return f"completed in {duration(job.seconds)}" + (f", {last.total} {last.unit}s" if last else "")
    return f"{job.state}: {job.error}" if job.error else job.state


def _watch_plainly(run: RunFolder, status: RunStatus) -> RunStatus:
    view = PlainView(datetime.fromisoformat(status.created))

    def show(status: RunStatus) -> None:
        for line in view.lines(status):
            print(line, flush=True)

    return _poll_until_ended(run, status, show)


def _watch_live(run: RunFolder, status: RunStatus) -> RunStatus:
    from rich.console import Console
    from rich.live import Live

    with Live(live_table(status), console=Console(file=sys.stdout), auto_refresh=False) as live:
        return _poll_until_ended(run, status, lambda new: live.update(live_table(new), refresh=True))


def live_table(status: RunStatus) -> Table:
    """A run as a rich table: a line and a bar for each job or large array."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    styles = {
        "completed": "green",
        "failed": "red",
        "cancelled": "yellow",
        "running": "bold",
        "pending": "dim",
    }
    table = Table.grid(padding=(0, 2))
    for group in grouped(status.jobs):
        shares = [_share(job) for job in group]
        known = [share for share in shares if share is not None]
        share = sum(known) / len(shares) if known else None
        state = run_state(group)
        bar = ProgressBar(total=1, completed=share or 0, width=24, pulse=share is None)
        table.add_row(
            Text(group_name(group)),
            Text(state_words(group[0]) if len(group) == 1 else state, style=styles[state]),
            bar,
            Text(duration(elapsed(group[0]) if len(group) == 1 else None), justify="right"),
            Text(group_words(group), overflow="ellipsis", no_wrap=True),
        )
    return table


def _share(job: JobStatus) -> float | None:
    """How much of a job is done, 0 to 1; None where it runs and has not said."""
    if job.state == "completed":
        return 1.0
    if job.progress and job.progress.total:
        return job.progress.step / job.progress.total
    return None if job.state == "running" else 0.0

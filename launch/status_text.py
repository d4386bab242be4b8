"""Runs and their jobs as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from launch.status import JobStatus, Progress, RunStatus
from launch.tables import BOLD, RED, STATE_COLORS, duration, shortened, speed, styled, table, width
from rankfold.run_folder import RunFolder


def runs_lines(statuses: Sequence[RunStatus], *, color: bool) -> Iterator[str]:
    """Yield a table of runs, newest first."""
    header = ("run", "state", "where", "created", "now")
    rows = [
        (status.run_id, status.state, status.cluster, status.created[:16].replace("T", " "), _now(status))
        for status in reversed(statuses)
    ]
    yield from _colored(table(header, rows), [status.state for status in reversed(statuses)], color)


def run_lines(run: RunFolder, status: RunStatus, *, color: bool) -> Iterator[str]:
    """Yield how one run is: its jobs, and the error and log of what failed."""
    state = styled(status.state, STATE_COLORS[status.state], color=color)
    yield f"{styled(status.run_id, BOLD, color=color)}: {state}, on {status.cluster}, {run.root}"
    yield ""
    header = ("job", "state", "ranks", "time", "progress")
    rows = [(job.job, job.state, _ranks(job), duration(_seconds(job)), job_words(job)) for job in status.jobs]
    lines = table(header, rows, right=("ranks", "time"))
    yield from _colored(lines, [job.state for job in status.jobs], color)
    yield from failure_lines(status, color=color)
    if run.report_html.is_file():
        yield f"report: {run.report_html}"


def failure_lines(status: RunStatus, *, color: bool) -> Iterator[str]:
    """Yield what failed, why, and where the log is."""
    for job in status.jobs:
        if job.state == "failed":
            yield ""
            yield styled(f"{job.job} failed: {job.error}", RED, color=color)
            yield f"log: {job.log}"
    if status.error and status.failed_job is None:
        yield ""
        yield styled(status.error, RED, color=color)


def progress_words(progress: Progress) -> str:
    """How far and how fast: `step 12/45 loss 1.234 2.9 s/step 1:36 left`."""
    words = [f"{progress.unit} {progress.step}/{progress.total}"]
    if progress.loss is not None:
        words.append(f"loss {progress.loss:.3f}")
    if progress.seconds_per_step:
        words.append(speed(progress.seconds_per_step, progress.unit))
    if progress.seconds_left and progress.step < progress.total:
        words.append(f"{duration(progress.seconds_left)} left")
    return " ".join(words)


def job_words(job: JobStatus) -> str:
    """What there is to say of a job beyond its state, in one line."""
    if job.waits_for:
        return f"waits for {job.waits_for}"
    return progress_words(job.progress) if job.progress and job.state == "running" else ""


def _now(status: RunStatus) -> str:
    if status.error:
        return shortened(f"{status.failed_job or 'driver'}: {status.error.splitlines()[0]}")
    busy = [f"{job.job} {job_words(job)}".strip() for job in status.jobs if job.state == "running"]
    return ", ".join(busy)


def _ranks(job: JobStatus) -> str:
    return f"{job.ranks_started}/{job.ranks}" if job.state == "running" else str(job.ranks)


def _seconds(job: JobStatus) -> float | None:
    if job.state == "running" and job.started:
        return (datetime.now(UTC) - datetime.fromisoformat(job.started)).total_seconds()
    return job.seconds


def _colored(lines: list[str], states: Sequence[str], color: bool) -> Iterator[str]:
    """Colour the second column of a table, which holds the state."""
    yield styled(lines[0], BOLD, color=color)
    start = lines[0].index("state")
    for line, state in zip(lines[1:], states, strict=True):
        end = start + len(state)
        if not color or line[start:end] != state or width(line[:start]) != start:
            yield line
        else:
            yield f"{line[:start]}{styled(state, STATE_COLORS[state], color=True)}{line[end:]}"

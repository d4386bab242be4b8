"""Runs and their jobs as text."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby

from launch.attempts import Cause
from launch.states import State
from launch.status import JobStatus, Progress, RunStatus, run_state
from launch.tables import BOLD, RED, STATE_COLORS, YELLOW, duration, shortened, speed, styled, table, width
from rankfold.run_folder import RunFolder

FOLD_FROM = 5
"""Shards of one array, from so many on, are one line."""
SHOWN_ORDER: tuple[State, ...] = ("completed", "running", "pending", "failed", "cancelled")
CAUSE_WORDS: dict[Cause, str] = {
    "completed": "completion",
    "preempted": "preemption",
    "time_limit": "the time limit",
    "interrupted": "an interruption",
    "node_failure": "a node failure",
    "killed": "a killed rank",
    "hung": "a hang",
    "no_progress": "attempts without progress",
    "setup_failed": "a failed setup line",
    "out_of_memory": "running out of memory",
    "not_a_number": "NaN",
    "disk_full": "a full disk",
    "user_error": "a mistake in its input",
    "exception": "an error",
    "cancelled": "being cancelled",
}


def runs_lines(statuses: Sequence[RunStatus], *, color: bool) -> Iterator[str]:
    """Yield a table of runs, newest first."""
    header = ("run", "state", "where", "created (UTC)", "now")
    rows = [
        (status.run_id, status.state, status.cluster, status.created[:16].replace("T", " "), _now(status))
        for status in reversed(statuses)
    ]
    yield from _colored(table(header, rows), [status.state for status in reversed(statuses)], color)
    notes = {status.note for status in statuses if status.note}
    yield from (styled(f"note: {note}", YELLOW, color=color) for note in sorted(notes))


def run_lines(run: RunFolder, status: RunStatus, *, color: bool, everything: bool = False) -> Iterator[str]:
    """Yield how one run is: its jobs, and the error and log of what failed.

    Args:
        everything: Also show each shard of a large array.
    """
    state = styled(status.state, STATE_COLORS[status.state], color=color)
    yield f"{styled(status.run_id, BOLD, color=color)}: {state}, on {status.cluster}, {run.root}"
    if status.cancelled:
        yield f"cancelled by {status.cancelled.get('by')} at {status.cancelled.get('when')}"
    yield ""
    groups = grouped(status.jobs, everything=everything)
    with_nodes = any(job.slurm_id and job.nodes for job in status.jobs)
    header = ["job", "state", "ranks", *(["nodes"] if with_nodes else []), "time", "progress"]
    rows = [_row(group, with_nodes) for group in groups]
    lines = table(header, rows, right=("ranks", "time"))
    yield from _colored(lines, [run_state(group) for group in groups], color)
    yield from failure_lines(status, color=color, everything=everything)
    if status.state in ("failed", "cancelled"):
        yield f"why: launch why {shlex.quote(str(run.root))}"
    if status.note:
        yield styled(f"note: {status.note}", YELLOW, color=color)
    if run.report_html.is_file():
        yield f"report: {run.report_html}"


def grouped(jobs: Sequence[JobStatus], *, everything: bool = False) -> list[tuple[JobStatus, ...]]:
    """Jobs one by one, but the shards of a large array together."""
    groups: list[tuple[JobStatus, ...]] = []
    for array, members in groupby(jobs, key=lambda job: job.array):
        together = tuple(members)
        if array is None or len(together) < FOLD_FROM or everything:
            groups += [(job,) for job in together]
        else:
            groups.append(together)
    return groups


def group_name(group: Sequence[JobStatus]) -> str:
    """`train`, or `evaluate-base 0-63` for the shards of an array."""
    if len(group) == 1:
        return group[0].job
    return f"{group[0].job.rpartition('-')[0]} {group[0].shard}-{group[-1].shard}"


def group_words(group: Sequence[JobStatus]) -> str:
    """What there is to say of a job, or how many shards are in which state."""
    if len(group) == 1:
        return job_words(group[0])
    counts = Counter(job.state for job in group)
    words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items(), key=_by_state))
    waits = next((job.waits_for for job in group if job.waits_for), None)
    return f"{words}: {waits}" if waits and len(counts) == 1 else words


def failure_lines(status: RunStatus, *, color: bool, everything: bool = False) -> Iterator[str]:
    """Yield what failed, why, and where the log is; of a large array only the first."""
    for group in grouped(status.jobs, everything=everything):
        failed = [job for job in group if job.state == "failed"]
        if failed:
            more = f" ({len(failed) - 1} more of its shards failed)" if len(failed) > 1 else ""
            yield ""
            yield styled(f"{failed[0].job} failed: {failed[0].error}", RED, color=color) + more
            yield f"log: {failed[0].log}"
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
    if progress.tokens_per_second:
        words.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.seconds_left and progress.step < progress.total:
        words.append(f"{duration(progress.seconds_left)} left")
    return " ".join(words)


def job_words(job: JobStatus) -> str:
    """What there is to say of a job beyond its state, in one line."""
    if job.state == "pending" and job.waits_for:
        return f"{job.waits_for}{_start_words(job.starts)}"
    if job.state == "cancelled":
        return job.error or ""
    if job.state != "running" or job.progress is None:
        return ""
    words, left = progress_words(job.progress), job.limit_seconds_left
    if left is not None and left < (job.progress.seconds_left or 0):
        words += f", but the time limit comes in {duration(left)}"
    return words


def state_words(job: JobStatus) -> str:
    """A job's state, with the attempt where it is not the first: `pending (attempt 2 after preemption)`."""
    if not job.attempts or job.state not in ("pending", "running"):
        return job.state
    last = job.attempts[-1]
    if job.state == "running":
        return f"running (attempt {last.number})" if last.number > 1 else job.state
    where = f" at {job.progress.unit} {job.progress.step}" if job.progress else ""
    return f"pending (attempt {last.number + 1} after {CAUSE_WORDS[last.cause or 'interrupted']}{where})"


def elapsed(job: JobStatus) -> float | None:
    """Seconds that a job has run, or ran."""
    if job.state == "running" and job.started:
        return (datetime.now(UTC) - datetime.fromisoformat(job.started)).total_seconds()
    return job.seconds


def _row(group: Sequence[JobStatus], with_nodes: bool) -> list[str]:
    job, name, words = group[0], group_name(group), group_words(group)
    if len(group) > 1:
        ranks = str(sum(job.ranks for job in group))
        return [name, run_state(group), ranks, *([""] if with_nodes else []), "–", words]
    ranks = f"{job.ranks_started}/{job.ranks}" if job.state == "running" else str(job.ranks)
    nodes = [job.nodes or ""] if with_nodes else []
    return [name, state_words(job), ranks, *nodes, duration(elapsed(job)), words]


def _by_state(counted: tuple[State, int]) -> int:
    return SHOWN_ORDER.index(counted[0])


def _start_words(starts: str | None) -> str:
    if starts is None:
        return ""
    when = datetime.fromisoformat(starts).astimezone()
    day = "" if when.date() == datetime.now(when.tzinfo).date() else f"{when.date()} "
    return f"; starts about {day}{when:%H:%M}"


def _now(status: RunStatus) -> str:
    if status.error:
        return shortened(f"{status.failed_job or 'driver'}: {status.error.splitlines()[0]}")
    groups = grouped(status.jobs)
    busy = [f"{group_name(group)} {group_words(group)}" for group in groups if run_state(group) == "running"]
    if not busy:
        waiting = [group for group in groups if group[0].state == "pending" and group[0].waits_for]
        busy = [f"{group_name(group)} {group_words(group)}" for group in waiting[:1]]
    return shortened(", ".join(words.strip() for words in busy))


def _colored(lines: list[str], states: Sequence[str], color: bool) -> Iterator[str]:
    """Colour the second column of a table, which begins with the state."""
    yield styled(lines[0], BOLD, color=color)
    start = lines[0].index("state")
    for line, state in zip(lines[1:], states, strict=True):
        end = start + len(state)
        if not color or line[start:end] != state or width(line[:start]) != start:
            yield line
        else:
            yield f"{line[:start]}{styled(state, STATE_COLORS[state], color=True)}{line[end:]}"

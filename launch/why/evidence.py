"""What a failed attempt left behind: which rank failed first, its error, its traceback, the batch output."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.attempts import Attempt
from launch.logs import batch_outputs
from launch.plan import PlannedJob
from launch.slurm.batch_output import exits, last_attempt
from launch.states import RankState, read_rank_states
from launch.why.failures import exit_words
from launch.why.stacks import Stack, read_stack
from rankfold.run_folder import RunFolder

LOOKED_AT = 1_000_000
"""Bytes at the end of a rank's log; tracebacks and stacks are far shorter."""
FRAMES = 4
OURS = "/launch/job.py"
"""Frames up to this file are how every rank begins."""
ERROR_LINES = 8
BATCH_LINES = 12
LOST_OTHERS = re.compile(
    r"Connection (?:closed|reset|refused)|another rank is not finite|nccl\w*Error|DistBackendError|gloo"
    r"|collective operation timeout|Broken pipe|Socket Timeout|TCPStore",
)
"""Errors of ranks that fail because another one did."""
NOISE = re.compile(r"^submitit (?:INFO|WARNING) |^launch: attempt \d+ of .* begins")
SLURMS_OWN = re.compile(r"^(?:srun|slurmstepd\S*): ")
TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Evidence:
    """What there is to see of one attempt.

    Attributes:
        rank: The rank that failed first; None where none can be named.
        node: Where that rank ran.
        error: What that rank said last, or what srun said of it.
        lines: The end of its traceback, or its stack where it hung.
        log: Where the lines stand.
        batch: The end of what the batch script wrote.
        stacks: Where each rank stood, where they hung.
    """

    rank: int | None
    node: str | None
    error: str
    lines: tuple[str, ...]
    log: Path | None
    batch: tuple[str, ...]
    stacks: dict[int, Stack]


def collect(
    run: RunFolder, job: PlannedJob, attempt: Attempt | None, *, ranks_began: bool = True
) -> Evidence:
    """Gather what the last attempt at a job left.

    Args:
        ranks_began: False where what ranks wrote is of attempts before.
    """
    batch = last_attempt(_batch_text(run, job))
    states = _failed_ranks(run, job, attempt) if ranks_began else []
    rank, error = _first(attempt, states, batch)
    stacks = {
        number: stack for number in range(job.ranks) if (stack := read_stack(_rank_text(run, job, number)))
    }
    node = next((state.process.host for state in _ranks(run, job) if state.rank == rank), None)
    log = None if rank is None else run.log(job.name, rank)
    lines: Sequence[str] = ()
    if rank is not None:
        lines = last_traceback(_rank_text(run, job, rank), job.name)
        if not lines and (early := _early_text(run, job, attempt, rank)):
            path, text = early
            lines, log = last_traceback(text, job.name), path
    shown = _shown(batch, only_slurm=bool(lines))
    return Evidence(rank, node, error, tuple(lines), log if lines else None, shown, stacks)


def last_traceback(text: str, job: str) -> list[str]:
    """The last frames and the error of the last traceback in a log; empty where there is none."""
    lines = [re.sub(r"^\[rank\d+\]: ?", "", line) for line in text.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.strip() == TRACEBACK]
    if not starts:
        return []
    block = lines[starts[-1] + 1 :]
    # The frames are indented, the error itself is not; it may have several lines.
    end = next((number for number, line in enumerate(block) if line and not line.startswith(" ")), len(block))
    error = block[end : end + ERROR_LINES]
    stop = next(
        (n for n, line in enumerate(error) if n and line.startswith((f"{job} failed", "submitit "))), None
    )
    frames = [number for number, line in enumerate(block[:end]) if line.startswith('  File "')]
    ours = [number for number in frames if OURS in block[number]]
    frames = [number for number in frames if not ours or number > ours[-1]]
    begin = frames[max(0, len(frames) - FRAMES)] if frames else end
    return [line for line in [*block[begin:end], *error[:stop]] if line.strip()]


def _batch_text(run: RunFolder, job: PlannedJob) -> str:
    files = [file for file in batch_outputs(run, job) if file.is_file()]
    return files[-1].read_text(encoding="utf-8", errors="replace") if files else ""


def _shown(batch: str, *, only_slurm: bool) -> tuple[str, ...]:
    """The end of the batch output; rank 0 writes its traceback there, too, once it has been shown."""
    lines = [line for line in batch.splitlines() if line.strip() and not NOISE.match(line)]
    return tuple(line for line in lines if not only_slurm or SLURMS_OWN.match(line))[-BATCH_LINES:]


def _rank_text(run: RunFolder, job: PlannedJob, rank: int) -> str:
    """What a rank logged since it last began."""
    log = run.log(job.name, rank)
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(-min(LOOKED_AT, log.stat().st_size), os.SEEK_END)
        text = file.read(LOOKED_AT).decode(errors="replace")
    begun = [
        found.start() for found in re.finditer(rf"^{re.escape(job.name)} starts as ", text, re.MULTILINE)
    ]
    return text[begun[-1] :] if begun else text


def _early_text(
    run: RunFolder, job: PlannedJob, attempt: Attempt | None, rank: int
) -> tuple[Path, str] | None:
    """What a rank wrote that failed before its log was open; on this machine its id is a process's."""
    slurm_id = attempt.slurm_id if attempt else None
    folder = run.submitit(job.array or job.name)
    files = sorted(folder.glob(f"{slurm_id or '*'}_{rank}_log.*"), key=lambda file: file.stat().st_mtime)
    return (files[-1], files[-1].read_text(encoding="utf-8", errors="replace")) if files else None


def _ranks(run: RunFolder, job: PlannedJob) -> list[RankState]:
    return read_rank_states(run, job.name, job.ranks)


def _failed_ranks(run: RunFolder, job: PlannedJob, attempt: Attempt | None) -> list[RankState]:
    """The ranks that failed in this attempt; those that lost another one come last."""
    ranks = [rank for rank in _ranks(run, job) if attempt is None or rank.attempt == attempt.number]
    failed = [rank for rank in ranks if rank.state == "failed"]
    return sorted(failed, key=lambda rank: (bool(LOST_OTHERS.search(rank.error or "")), rank.ended or ""))


def _first(attempt: Attempt | None, failed: list[RankState], batch: str) -> tuple[int | None, str]:
    """The rank that made the others fail, and its error."""
    told = (attempt.error or "") if attempt else ""
    if attempt is not None and attempt.rank is not None and not LOST_OTHERS.search(told):
        return attempt.rank, told
    known = {rank.rank for rank in failed}
    for end in exits(batch):
        # A rank that was killed made the others fail, never the other way round.
        if end.code < 0 and end.rank not in known:
            return end.rank, exit_words(end.code)
    if failed:
        return failed[0].rank, failed[0].error or ""
    return (attempt.rank if attempt else None), told

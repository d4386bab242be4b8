"""What the output of a batch script says of how its ranks and its job ended."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

from launch.attempts import Cause, Ending
from launch.why.failures import Exit

BEGINS = re.compile(r"^launch: attempt \d+ of .* begins", re.MULTILINE)
TASKS_ENDED = re.compile(r"^srun: error: \S+: tasks? ([\d,-]+): (.*)$", re.MULTILINE)
"""`srun: error: node2: tasks 0-1: Exited with exit code 1`"""
EXIT_CODE = re.compile(r"Exited with exit code (\d+)")
OTHERS_ENDED = re.compile(r"^srun: .*Terminating StepId", re.MULTILINE)
"""From here on srun reports the ranks that it ended itself, because one had failed."""
OUT_OF_MEMORY = re.compile(r"oom[-_ ]kill|: Out Of Memory", re.IGNORECASE)
"""slurmstepd: `Detected 1 oom-kill event(s)`; srun: `task 0: Out Of Memory`."""
JOB_ENDED = re.compile(
    r"\*\*\* JOB \S+ ON \S+ CANCELLED AT \S+(?: DUE (?:to SIGNAL \w+|TO ([A-Z ]+?)))?(?:,.*)? \*\*\*"
)
"""slurmstepd says so of a whole job only where Slurm ends it; of a step, also where a rank failed.

Newer ones name the signal (`DUE to SIGNAL Terminated`) where older ones give no reason: scancel.
"""
NODE_FAILED = re.compile(r"^srun: error: Node failure on (\S+)", re.MULTILINE)
SIGNALS = {signal.strsignal(number): number for number in signal.valid_signals()}

REASONS: dict[str, Cause] = {
    "PREEMPTION": "preempted",
    "TIME LIMIT": "time_limit",
    "NODE FAILURE": "node_failure",
    "JOB REQUEUE": "interrupted",
}
ERRORS: dict[Cause, str] = {
    "preempted": "another job took its nodes",
    "time_limit": "its time limit was over",
    "node_failure": "a node failed",
    "interrupted": "Slurm ended it to queue it again",
    "cancelled": "cancelled with scancel",
}


def begins_line(number: int, job: str, nodes: str) -> str:
    """The line that separates an attempt's output from what was there before: requeued jobs append."""
    return f"launch: attempt {number} of {job} begins on {nodes}"


def last_attempt(text: str) -> str:
    """The output from where the last attempt began."""
    begins = [found.start() for found in BEGINS.finditer(text)]
    return text[begins[-1] :] if begins else text


def ended_by_slurm(text: str) -> Ending | None:
    """Why Slurm itself ended the job, where it did."""
    found = list(JOB_ENDED.finditer(text))
    if found:
        reason = found[-1][1]
        cause: Cause = REASONS.get(reason, "interrupted") if reason else "cancelled"
        return Ending(cause, ERRORS[cause])
    failed = NODE_FAILED.search(text)
    return Ending("node_failure", f"node {failed[1]} failed") if failed else None


def out_of_memory(text: str) -> bool:
    """Whether the kernel or Slurm says that memory ran out."""
    return OUT_OF_MEMORY.search(text) is not None


def exits(text: str) -> tuple[Exit, ...]:
    """The ranks that ended by themselves, the first one first."""
    end = OTHERS_ENDED.search(text)
    found = TASKS_ENDED.finditer(text, 0, end.start() if end else len(text))
    return tuple(Exit(rank, _code(match[2])) for match in found for rank in _ranks(match[1]))


def _code(words: str) -> int:
    code = EXIT_CODE.search(words)
    if code:
        return int(code[1])
    # srun uses the C library's words; what it says of memory is its own.
    return -SIGNALS.get(words.removesuffix(" (core dumped)"), signal.SIGKILL)


def _ranks(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)

"""Where ranks stood when they hung: the stacks that faulthandler wrote into their logs, compared."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

TIMEOUT = re.compile(r"^Timeout \(\d+:\d\d:\d\d(?:\.\d+)?\)!$", re.MULTILINE)
FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$')
WAITING = frozenset(
    {
        *("all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_to_all", "barrier"),
        *("broadcast", "broadcast_object_list", "gather", "monitored_barrier", "recv", "reduce", "scatter"),
        *("reduce_scatter", "reduce_scatter_tensor", "send", "wait", "_engine_run_backward", "synchronize"),
    }
)
"""Functions in which a rank waits for others: collectives, and the backward pass that starts them."""
INNERMOST = 4
SHOWN = 6


@dataclass(frozen=True)
class Frame:
    """One frame of a stack."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.function} ({'/'.join(self.file.split('/')[-2:])}:{self.line})"


Stack = tuple[Frame, ...]
"""The main thread's frames, the innermost first."""


def read_stack(text: str) -> Stack | None:
    """The main thread's stack in a rank's log, if the rank hung; faulthandler writes that thread last."""
    found = list(TIMEOUT.finditer(text))
    if not found:
        return None
    threads: list[list[Frame]] = []
    for line in text[found[-1].end() :].splitlines():
        if line.endswith("(most recent call first):"):
            threads.append([])
        elif threads and (frame := FRAME.match(line)):
            threads[-1].append(Frame(frame["file"], int(frame["line"]), frame["function"]))
        elif threads and threads[-1] and line.strip() and not line.startswith("  "):
            break
    return tuple(threads[-1]) if threads and threads[-1] else None


def odd_ranks(stacks: dict[int, Stack]) -> list[int]:
    """The ranks that stand elsewhere: those that do not wait while others do, else the fewest alike."""
    busy = [rank for rank, stack in stacks.items() if not _waits(stack)]
    if busy and len(busy) < len(stacks):
        return busy
    alike: defaultdict[Stack, list[int]] = defaultdict(list)
    for rank, stack in stacks.items():
        alike[stack].append(rank)
    sizes = sorted(len(ranks) for ranks in alike.values())
    if len(sizes) < 2 or sizes[0] == sizes[-1]:
        return []
    return [rank for ranks in alike.values() if len(ranks) < sizes[-1] for rank in ranks]


def hang_words(stacks: dict[int, Stack], ranks: int) -> str:
    """Where the ranks stood, the odd ones first."""
    if not stacks:
        return "no rank wrote where it stood"
    odd = odd_ranks(stacks)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for rank in [*odd, *(rank for rank in stacks if rank not in odd)]:
        places[str(stacks[rank][0])].append(rank)
    words = "; ".join(f"{_named(numbers)} in {place}" for place, numbers in places.items())
    silent = [rank for rank in range(ranks) if rank not in stacks]
    if silent:
        words += f"; {_named(silent)} did not write where {'it' if len(silent) == 1 else 'they'} stood"
    return f"{_named(odd)} stood elsewhere than the others: {words}" if odd else words


def stack_lines(stack: Stack) -> list[str]:
    """The innermost frames of a stack, one a line."""
    shown = [frame for frame in stack if "/launch/job.py" not in frame.file and "submitit" not in frame.file]
    return [f'  File "{frame.file}", line {frame.line} in {frame.function}' for frame in shown[:SHOWN]]


def _waits(stack: Stack) -> bool:
    return any(frame.function in WAITING for frame in stack[:INNERMOST])


def _named(ranks: list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"

"""How much training gets done in which time: examples, tokens, padding, and memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import torch

from rankfold.data.noise import of_epoch
from rankfold.distributed import all_gather_bytes, total

Batch = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

WORK = "rankfold_work"
"""Key of a batch under which its work travels from the collator to the trainer, and no further."""

_IDS, _MASK = "input_ids", "attention_mask"


@dataclass(frozen=True)
class Work:
    """What some batches hold.

    Attributes:
        items: What their loss is a mean over, as the task counts.
        examples: Training examples; a packed row holds several.
        tokens: Tokens that the model reads, without padding.
        positions: The same with padding: what the model computes.
        squared_lengths: Sum of the squares of all texts' lengths, which attention takes time for.
    """

    items: int = 0
    examples: int = 0
    tokens: int = 0
    positions: int = 0
    squared_lengths: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Work) -> Work:
        return Work(*(mine - theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def over_ranks(self) -> Work:
        """The work of all ranks together; every rank calls this."""
        return Work(*total(astuple(self)))


class CountingCollator:
    """A collator that counts beside each batch what is in it: where padding is, only it still knows.

    It counts before a batch goes to the GPU, which nobody then has to wait for.

    Attributes:
        epoch: The epoch that the next batches belong to, from 0: rows have other noise in each.
    """

    def __init__(self, collate: Callable[[Rows], Batch], num_items: Callable[[Batch], int]) -> None:
        self._collate, self._num_items = collate, num_items
        self.epoch = 0

    def __call__(self, rows: Rows) -> Batch:
        batch = self._collate([of_epoch(row, self.epoch) for row in rows])
        return {**batch, WORK: work_of(rows, batch, self._num_items(batch))}


def work_of(rows: Rows, batch: Mapping[str, Any], items: int) -> Work:
    """Count one batch and the rows it was made of; every column `…input_ids` is text that the model reads."""
    texts = [name for name in batch if name.endswith(_IDS)]
    masks = [name.removesuffix(_IDS) + _MASK for name in texts]
    if texts and all(name in batch for name in masks):
        # A collator may cut tokens out of a row.
        lengths = [length for name in masks for length in batch[name].sum(dim=-1).flatten().tolist()]
    else:
        lengths = [length for row in rows for length in _lengths(row)]
    return Work(
        items=items,
        examples=sum(row["position_ids"].count(0) if "position_ids" in row else 1 for row in rows),
        tokens=sum(lengths),
        positions=sum(batch[name].numel() for name in texts),
        squared_lengths=sum(length * length for length in lengths),
    )


def _lengths(row: Mapping[str, Any]) -> Iterator[int]:
    if "position_ids" in row:
        starts = [place for place, position in enumerate(row["position_ids"]) if position == 0]
        ends = [*starts[1:], len(row[_IDS])]
        yield from (end - start for start, end in zip(starts, ends, strict=True))
        return
    for name, value in row.items():
        if name.endswith(_IDS):
            # A choice among several texts is a list of lists.
            yield from map(len, value) if value and not isinstance(value[0], int) else [len(value)]


@dataclass
class Throughput:
    """The work of a training run, of all ranks and all attempts, and the time that its steps took.

    Evaluations, checkpoints and logs between two steps do not count.
    """

    done: Work = Work()
    steps: int = 0
    seconds: float = 0.0
    _since: float | None = None
    _logged: tuple[Work, float] = field(default=(Work(), 0.0))

    def take_up(self, done: Work, steps: int, seconds: float) -> None:
        """Go on from what earlier attempts did."""
        self.done, self.steps, self.seconds = done, steps, seconds
        self._logged = (done, seconds)

    def go_on(self) -> None:
        """The next step begins."""
        self._since = time.monotonic()

    def add(self, work: Work) -> None:
        """Say what the step that has begun works on."""
        self.done += work

    def pause(self) -> None:
        """A step has ended, on the GPU too."""
        if self._since is not None:
            self.seconds += time.monotonic() - self._since
            self.steps += 1
            self._since = None

    def tokens_per_second_since_log(self) -> float | None:
        """Of the steps since this was last asked."""
        work, seconds = self.done - self._logged[0], self.seconds - self._logged[1]
        self._logged = (self.done, self.seconds)
        return work.tokens / seconds if seconds > 0 else None

    def summary(self, flops: Callable[[Work], float | None], peak_flops: float | None) -> dict[str, float]:
        """What there is to say at the end; every rank calls this.

        Args:
            flops: Operations that some work needs, None where not known.
            peak_flops: What all ranks' devices could do in a second, None where not known.

        Returns:
            Rates over the time of all steps; the share of padding is of all positions. Memory is the largest
            of any rank, in 10⁹ bytes: the GPU's as torch allocated it, else the process's. What is not known
            is left out.
        """
        # Of a training that had nothing left to do, no step took time.
        seconds = max(self.seconds, 1e-9)
        done, needed = self.done, flops(self.done)
        found = {
            "train_samples_per_second": done.examples / seconds,
            "train_tokens_per_second": done.tokens / seconds,
            "train_seconds_per_step": self.seconds / self.steps if self.steps else None,
            "train_num_tokens": done.tokens,
            "train_padding_share": 1 - done.tokens / done.positions if done.positions else None,
            "train_peak_memory_gb": _peak_memory_gb(),
            "model_flops_utilization": needed / seconds / peak_flops if needed and peak_flops else None,
        }
        return {name: value for name, value in found.items() if value is not None}


def _peak_memory_gb() -> float:
    if torch.cuda.is_available():
        mine = float(torch.cuda.max_memory_allocated())
    else:
        # In kilobytes, but on macOS in bytes (getrusage(2)).
        unit = 1 if sys.platform == "darwin" else 1024
        mine = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    ranks = all_gather_bytes([json.dumps(mine).encode()])
    return float(max(json.loads(parts[0]) for parts in ranks)) / 1e9

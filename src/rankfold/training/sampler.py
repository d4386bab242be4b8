"""The order of training rows."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch.utils.data import Sampler

MAX_STEPS_SORTED = 50
"""Most steps whose rows are drawn at random and sorted together; as in transformers' own grouping."""

MIN_DRAWS = 4
"""Such draws an epoch at least: of a small data set sorted as a whole, no two steps would be alike."""

STEPS_MIXED = 4
"""Neighbouring steps that share their rows out at random: see `StepLengthGroupedSampler`."""


class StepLengthGroupedSampler(Sampler[int]):
    """Rows of similar length in one step, in an order that follows from seed and epoch alone.

    transformers' LengthGroupedSampler sorts the rows of many steps and takes them from the longest to the
    shortest, so that neither the order of the steps is random nor what is in them: rows of one length may be
    of one family, such as the questions about one paragraph. Here the steps come in random order, and a
    row's step is drawn from a few neighbouring ones.
    Within a step rows are sorted: its batches are padded little, and take about the same time on all ranks.

    Args:
        step_size: Rows of one step, of all ranks and accumulated batches: how they divide it changes nothing.
        lengths: Of each row, in tokens.
        seed: Of the order.
    """

    def __init__(self, step_size: int, lengths: Sequence[int], seed: int) -> None:
        self._step_size = step_size
        self._lengths = lengths
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        # Not torch's random state, which a run that goes on in the middle of an epoch can no longer know.
        random = torch.Generator().manual_seed(self._seed + self._epoch)
        shuffled = _shuffled(range(len(self._lengths)), random)
        num_sorted = min(MAX_STEPS_SORTED, len(shuffled) // (MIN_DRAWS * self._step_size))
        steps = [
            self._by_length(step)
            for drawn in _parts(shuffled, max(1, num_sorted) * self._step_size)
            for mixed in _parts(self._by_length(drawn), STEPS_MIXED * self._step_size)
            for step in _parts(_shuffled(mixed, random), self._step_size)
        ]
        # A shorter one can only be the last.
        rest = [] if len(steps[-1]) == self._step_size else [steps.pop()]
        steps, longest = _shuffled(steps, random), max(self._lengths)
        # The longest row first: where memory does not suffice, that is known at once.
        steps.sort(key=lambda step: self._lengths[step[0]] < longest)
        return (row for step in [*steps, *rest] for row in step)

    def _by_length(self, rows: Sequence[int]) -> list[int]:
        return sorted(rows, key=lambda row: -self._lengths[row])


Item = TypeVar("Item")


def _shuffled(items: Sequence[Item], random: torch.Generator) -> list[Item]:
    return [items[place] for place in torch.randperm(len(items), generator=random).tolist()]


def _parts(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))

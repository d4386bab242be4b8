"""The order of training rows."""

from collections.abc import Iterator, Sequence

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler, get_length_grouped_indices


class EpochLengthGroupedSampler(LengthGroupedSampler):  # type: ignore[misc]
    """transformers' grouping by length, in an order that follows from seed and epoch alone.

    Its own draws on torch's random state, which a run that goes on in the middle of an epoch can no longer
    know, and which need not be the same on every rank.
    """

    def __init__(self, batch_size: int, lengths: Sequence[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths)
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))

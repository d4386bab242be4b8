"""Padding a batch to its longest row and no further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

IGNORED_LABEL = -100
"""Label of a token that takes no part in the loss; torch's cross entropy and transformers agree on it."""

PAD_TO_MULTIPLE_OF = 8
"""Tensor cores like lengths that are multiples of 8; at most 7 padding tokens a row."""


def pad(rows: Sequence[Mapping[str, Any]], column: str, value: int, side: str) -> Tensor:
    """Stack a column of unequal lists of ints into int64 (batch, longest), filled with `value`."""
    import torch  # a task is imported to merge too, where nothing is padded

    longest = max(len(row[column]) for row in rows)
    longest = -(-longest // PAD_TO_MULTIPLE_OF) * PAD_TO_MULTIPLE_OF
    stacked = torch.full((len(rows), longest), value)
    for index, row in enumerate(rows):
        values = torch.tensor(row[column])
        if side == "right":
            stacked[index, : len(values)] = values
        else:
            stacked[index, longest - len(values) :] = values
    return stacked


def attention_mask(rows: Sequence[Mapping[str, Any]], padded: Tensor, side: str) -> Tensor:
    """Return int64 (batch, longest): 1 for real tokens, 0 for padding."""
    import torch

    lengths = torch.tensor([len(row["input_ids"]) for row in rows]).unsqueeze(1)
    positions = torch.arange(padded.shape[1]).unsqueeze(0)
    real = positions < lengths if side == "right" else positions >= padded.shape[1] - lengths
    return real.long()

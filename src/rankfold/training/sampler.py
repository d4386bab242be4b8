"""The order of training rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from rankfold.errors import RecipeError

Lengths = Sequence[int]


class EpochSampler(Sampler[int]):
    """Rows in an order that follows from seed and epoch alone.

    transformers' grouping by length draws on torch's random state, which a run that goes on in the middle of
    an epoch can no longer know, and which need not be the same on every rank.
    """

    def __init__(self, order: Callable[[torch.Generator], list[int]], num_rows: int, seed: int) -> None:
        self._order, self._num_rows, self._seed = order, num_rows, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._num_rows

    def __iter__(self) -> Iterator[int]:
        return iter(self._order(torch.Generator().manual_seed(self._seed + self._epoch)))


def training_sampler(
    rows: Sequence[Mapping[str, Any]], arguments: TrainingArguments, *, loss_couples_rows: bool
) -> EpochSampler:
    """The order that `train_sampling_strategy` asks for.

    In random order each step's rows are sorted, the longest first, before they are dealt out to accumulated
    batches and ranks: what a step learns is a mean over its items, whichever batch they are in.

    Args:
        rows: The training set.
        arguments: The run's.
        loss_couples_rows: What a row learns depends on the others of its batch: a step is not sorted.

    Raises:
        RecipeError: The rows are to be grouped by length, but have none.
    """
    lengths = row_lengths(rows)
    rows_of_rank = arguments.train_batch_size * arguments.gradient_accumulation_steps
    order: Callable[[torch.Generator], list[int]]
    if arguments.train_sampling_strategy == "group_by_length":
        if lengths is None:
            raise RecipeError(
                "the task's rows have no input_ids, so they have no length to be grouped by",
                where="train.train_sampling_strategy",
                remedy="Write random.",
            )
        order = partial(_grouped, lengths, rows_of_rank)
    elif lengths is None or loss_couples_rows:
        order = partial(_shuffled, len(rows))
    else:
        order = partial(_sorted_in_steps, lengths, rows_of_rank * arguments.world_size)
    return EpochSampler(order, len(rows), arguments.data_seed)


def row_lengths(rows: Sequence[Mapping[str, Any]]) -> Lengths | None:
    """How many tokens the `input_ids` of each row hold, those of several texts together; None without any.

    A data set's are counted where they are: making Python numbers of all tokens would take seconds.
    """
    if not len(rows) or "input_ids" not in rows[0]:
        return None
    if isinstance(rows, Dataset):
        tokens: pa.ChunkedArray = rows.with_format("arrow")["input_ids"][:]
        if not pa.types.is_nested(tokens.type.value_type):
            lengths: list[int] = pc.list_value_length(tokens).to_pylist()
            return lengths
    return [_num_tokens(row["input_ids"]) for row in rows]


def _num_tokens(ids: Sequence[Any]) -> int:
    return sum(len(each) if isinstance(each, Sequence) else 1 for each in ids)


def _shuffled(num_rows: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(num_rows, generator=generator).tolist()


def _sorted_in_steps(lengths: Lengths, rows_per_step: int, generator: torch.Generator) -> list[int]:
    shuffled = _shuffled(len(lengths), generator)
    starts = range(0, len(shuffled), rows_per_step)
    steps = (shuffled[start : start + rows_per_step] for start in starts)
    return [row for step in steps for row in sorted(step, key=lengths.__getitem__, reverse=True)]


def _grouped(lengths: Lengths, batch_size: int, generator: torch.Generator) -> list[int]:
    rows: list[int] = get_length_grouped_indices(lengths, batch_size, generator=generator)
    return rows

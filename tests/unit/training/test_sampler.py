"""Rows come in random order, each once an epoch, and within a step the longest first."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from accelerate.data_loader import SeedableRandomSampler  # type: ignore[import-untyped]
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments
from unit.training.line import Line, trainer

from rankfold.errors import RecipeError
from rankfold.task_facts import task_names
from rankfold.tasks.registry import load_task
from rankfold.training.sampler import EpochSampler, row_lengths, training_sampler

SEED = 3


def sampler(
    lengths: Sequence[int],
    *,
    batch_size: int = 2,
    accumulated: int = 2,
    ranks: int = 1,
    strategy: str = "random",
    loss_couples_rows: bool = False,
    column: str = "input_ids",
) -> EpochSampler:
    arguments = SimpleNamespace(
        train_batch_size=batch_size,
        gradient_accumulation_steps=accumulated,
        world_size=ranks,
        train_sampling_strategy=strategy,
        data_seed=SEED,
    )
    rows = [{column: [0] * length} for length in lengths]
    return training_sampler(rows, cast(TrainingArguments, arguments), loss_couples_rows=loss_couples_rows)


def steps(order: Sequence[int], rows_per_step: int) -> list[list[int]]:
    return [list(order[start : start + rows_per_step]) for start in range(0, len(order), rows_per_step)]


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    batch_size=st.integers(1, 3),
    accumulated=st.integers(1, 3),
    ranks=st.integers(1, 3),
    epoch=st.integers(0, 5),
)
def test_a_step_has_the_rows_of_random_order_and_begins_with_the_longest(
    lengths: list[int], batch_size: int, accumulated: int, ranks: int, epoch: int
) -> None:
    of_shape = partial(sampler, lengths, batch_size=batch_size, accumulated=accumulated, ranks=ranks)
    ordered, as_drawn = of_shape(), of_shape(loss_couples_rows=True)
    ordered.set_epoch(epoch)
    as_drawn.set_epoch(epoch)
    rows_per_step = batch_size * accumulated * ranks
    for ours, drawn in zip(
        steps(list(ordered), rows_per_step), steps(list(as_drawn), rows_per_step), strict=True
    ):
        assert sorted(ours) == sorted(drawn)
        assert [lengths[row] for row in ours] == sorted((lengths[row] for row in drawn), reverse=True)


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_random_order_is_that_of_the_trainer_itself(epoch: int) -> None:
    as_drawn = sampler(range(1, 30), loss_couples_rows=True)
    theirs = SeedableRandomSampler(range(29), data_seed=SEED, generator=torch.Generator())
    as_drawn.set_epoch(epoch)
    theirs.set_epoch(epoch)
    assert list(as_drawn) == list(theirs)
    assert len(as_drawn) == 29


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_epochs_differ_and_come_again(strategy: str) -> None:
    of = sampler([1 + row % 7 for row in range(30)], strategy=strategy)
    first = list(of)
    of.set_epoch(1)
    assert sorted(of) == sorted(first)
    assert list(of) != first
    of.set_epoch(0)
    assert list(of) == first


def test_rows_without_a_length_are_shuffled_but_not_grouped() -> None:
    assert list(sampler(range(9), column="pixels")) == list(sampler(range(9), loss_couples_rows=True))
    with pytest.raises(RecipeError, match="no input_ids"):
        sampler(range(9), column="pixels", strategy="group_by_length")


@pytest.mark.parametrize(
    ("ids", "lengths"),
    [
        ([[1, 2, 3], [], [4]], [3, 0, 1]),
        ([[[1, 2], [3]], [[4], [5]], [[6, 7, 8], []]], [3, 2, 3]),
    ],
)
def test_lengths_are_those_of_all_tokens_of_a_row(ids: list[Any], lengths: list[int]) -> None:
    rows = Dataset.from_dict({"input_ids": ids})
    assert row_lengths(rows) == lengths
    assert row_lengths(rows.select([2, 0])) == [lengths[2], lengths[0]]
    assert row_lengths([{"input_ids": row} for row in ids]) == lengths


def test_the_trainer_takes_the_rows_of_a_step_sorted(tmp_path: Path) -> None:
    of = trainer(tmp_path, Line(), num_rows=16, gradient_accumulation_steps=4)
    lengths = [len(row["input_ids"]) for row in of.train_dataset]
    order = [int(value) for batch in of.get_train_dataloader() for value in batch["x"][:, 1]]
    assert [[lengths[row] for row in step] for step in steps(order, 8)] == [
        sorted((lengths[row] for row in step), reverse=True) for step in steps(order, 8)
    ]


def test_only_a_task_that_tells_the_texts_of_a_batch_apart_is_left_as_drawn() -> None:
    assert [name for name in task_names() if load_task(name).loss_couples_rows] == ["embedding"]

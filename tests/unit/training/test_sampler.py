"""Rows grouped by length: each once an epoch, padded little, and in no order that teaches less."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankfold.training.sampler import StepLengthGroupedSampler

STEP_SIZE = 8


def steps(lengths: Sequence[int], epoch: int = 0, seed: int = 42) -> list[list[int]]:
    sampler = StepLengthGroupedSampler(STEP_SIZE, lengths, seed)
    sampler.set_epoch(epoch)
    rows = list(sampler)
    return [rows[start : start + STEP_SIZE] for start in range(0, len(rows), STEP_SIZE)]


def padding_share(order: Sequence[Sequence[int]], lengths: Sequence[int]) -> float:
    padded = sum(max(lengths[row] for row in step) * len(step) for step in order)
    return 1 - sum(lengths) / padded


@pytest.fixture(scope="module")
def lengths() -> list[int]:
    """Of 150 paragraphs with five questions each, which are about as long as their paragraph."""
    random = torch.Generator().manual_seed(0)
    paragraphs = torch.randint(40, 380, (150,), generator=random).repeat_interleave(5)
    return (paragraphs + torch.randint(5, 15, (750,), generator=random)).tolist()


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=120), epoch=st.integers(0, 3))
def test_every_row_comes_once_and_the_longest_in_the_first_step_that_is_full(
    lengths: list[int], epoch: int
) -> None:
    order = steps(lengths, epoch)
    assert sorted(row for step in order for row in step) == list(range(len(lengths)))
    assert all(len(step) == STEP_SIZE for step in order[:-1])
    assert order == steps(lengths, epoch)
    for step in order:
        assert [lengths[row] for row in step] == sorted((lengths[row] for row in step), reverse=True)
    assert max(lengths) in (lengths[order[0][0]], lengths[order[-1][0]])


def test_epochs_and_seeds_differ(lengths: list[int]) -> None:
    assert steps(lengths) != steps(lengths, epoch=1)
    assert steps(lengths) != steps(lengths, seed=1)


def test_little_is_padded(lengths: list[int]) -> None:
    shuffled = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0)).tolist()
    at_random = [shuffled[start : start + STEP_SIZE] for start in range(0, len(shuffled), STEP_SIZE)]
    assert padding_share(at_random, lengths) > 0.35
    assert padding_share(steps(lengths), lengths) < 0.15


def test_steps_do_not_go_from_long_to_short(lengths: list[int]) -> None:
    longest = torch.tensor([max(lengths[row] for row in step) for step in steps(lengths)], dtype=torch.float)
    places = torch.arange(len(longest), dtype=torch.float)
    assert abs(float(torch.corrcoef(torch.stack([longest, places]))[0, 1])) < 0.3


def test_rows_of_one_family_are_spread_over_steps(lengths: list[int]) -> None:
    families = [len({row // 5 for row in step}) for step in steps(lengths)]
    sorted_rows = sorted(range(len(lengths)), key=lambda row: lengths[row])
    by_length = [sorted_rows[start : start + STEP_SIZE] for start in range(0, len(sorted_rows), STEP_SIZE)]
    alone = [len({row // 5 for row in step}) for step in by_length]
    assert sum(families) / len(families) > 1.25 * sum(alone) / len(alone)

"""A step learns the mean over all of its items, however they lie on ranks and in accumulated batches."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import on_ranks
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import MultipleChoiceModelOutput, TokenClassifierOutput
from unit.training.curves import BATCHES, CASES, curve, curves_on_ranks

from rankfold.data.collate import IGNORED_LABEL
from rankfold.errors import RecipeError
from rankfold.training.label_smoothing import smoothed

TOLERANCE = 1e-4
"""Relative. Sums over ranks are taken in another order, and Adam divides by gradients near zero."""


@pytest.fixture(scope="module")
def on_four_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    folder = tmp_path_factory.mktemp("four_ranks")
    on_ranks(BATCHES, curves_on_ranks, folder, folder)
    found: dict[str, list[float]] = json.loads((folder / "curves.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES)
def test_four_ranks_learn_what_one_learns_from_four_accumulated_batches(
    case: str, on_four_ranks: dict[str, list[float]], tmp_path: Path
) -> None:
    alone = curve(tmp_path, case, accumulated=BATCHES)
    assert on_four_ranks[case] == pytest.approx(alone, rel=TOLERANCE)
    assert alone[-1] != pytest.approx(alone[0], rel=10 * TOLERANCE)


@pytest.mark.parametrize(
    "case", ["generative_ner", "token_classification", "extractive_qa", "smoothed tokens"]
)
def test_accumulated_batches_learn_what_one_large_batch_learns(case: str, tmp_path: Path) -> None:
    apart = curve(tmp_path / "apart", case, accumulated=BATCHES)
    whole = curve(tmp_path / "whole", case, accumulated=1, batch_size=BATCHES)
    assert apart == pytest.approx(whole, rel=TOLERANCE)


@pytest.mark.parametrize("case", ["generative_ner", "extractive_qa", "smoothed classes"])
def test_a_step_whose_rows_are_sorted_learns_what_it_learned_in_random_order(
    case: str, tmp_path: Path
) -> None:
    curve_of = partial(curve, case=case, accumulated=BATCHES // 2, batch_size=2)
    ordered = curve_of(tmp_path / "sorted")
    as_drawn = curve_of(tmp_path / "as drawn", loss_couples_rows=True)
    assert ordered == pytest.approx(as_drawn, rel=TOLERANCE)


def output_and_batch(num_items: int) -> tuple[Any, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, generator=generator)
    labels = torch.full((2, 5), IGNORED_LABEL)
    labels.flatten()[1 : 1 + num_items] = torch.arange(num_items) % 7
    return TokenClassifierOutput(logits=logits), {"labels": labels}


@pytest.mark.parametrize("shifts", [False, True])
def test_smoothing_is_that_of_torch_s_cross_entropy(shifts: bool) -> None:
    output, batch = output_and_batch(4)
    logits, labels = output.logits, batch["labels"]
    if shifts:
        logits, labels = logits[:, :-1], labels[:, 1:]
    plain, expected = (
        cross_entropy(logits.reshape(-1, 7), labels.reshape(-1), label_smoothing=factor)
        for factor in (0.0, 0.1)
    )
    found = smoothed(plain, output, batch, factor=0.1, shifts_labels=shifts)
    torch.testing.assert_close(found, expected)


def test_a_choice_that_is_not_there_gets_no_share_of_the_probability() -> None:
    logits = torch.tensor([[1.0, 2.0, 9.0], [3.0, 1.0, 2.0]], requires_grad=True)
    mask = torch.tensor([[[1, 1], [1, 0], [0, 0]], [[1, 1], [1, 1], [1, 1]]])
    batch = {"labels": torch.tensor([0, 2]), "attention_mask": mask}
    of_two, of_three = (
        cross_entropy(logits[row, :choices], torch.tensor(label), label_smoothing=0.3)
        for row, choices, label in ((0, 2, 0), (1, 3, 2))
    )
    plain = (cross_entropy(logits[0, :2], torch.tensor(0)) + cross_entropy(logits[1], torch.tensor(2))) / 2
    output = MultipleChoiceModelOutput(logits=logits)
    found = smoothed(plain, output, batch, factor=0.3, shifts_labels=False)
    torch.testing.assert_close(found, (of_two + of_three) / 2)
    torch.autograd.backward(found)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2] == 0


def test_smoothing_where_there_are_no_labels_is_refused() -> None:
    output, _ = output_and_batch(0)
    with pytest.raises(RecipeError, match="no labels to smooth"):
        smoothed(torch.tensor(1.0), output, {}, factor=0.1, shifts_labels=False)

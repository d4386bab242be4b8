"""Samples that depend on a seed and a text's place, and on nothing beside it."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from rankfold.evaluation.sampling import IndependentDraws

from .slowly import (
    PROMPTS,
    sequences,
)


def test_sampling_repeats_with_its_seed_and_differs_with_another(model: PreTrainedModel) -> None:
    search: dict[str, Any] = {"do_sample": True, "num_return_sequences": 3}
    assert sequences(model, seed=5, **search) == sequences(model, seed=5, **search)
    assert sequences(model, seed=5, **search) != sequences(model, seed=6, **search)


def test_samples_of_a_text_do_not_depend_on_the_texts_beside_it(model: PreTrainedModel) -> None:
    search: dict[str, Any] = {"do_sample": True, "num_return_sequences": 3, "top_p": 0.9}
    together = sequences(model, **search)
    alone = sequences(model, per_device_eval_batch_size=1, **search)
    assert [one.text for one in alone] == [one.text for one in together]
    first = [one.text for one in together if one.prompt == 0]
    assert [one.text for one in sequences(model, PROMPTS[:1], **search)] == first


def test_equal_texts_of_a_unit_are_sampled_apart(model: PreTrainedModel) -> None:
    found = sequences(model, PROMPTS[:1] * 2, do_sample=True, num_return_sequences=3)
    assert len({one.text for one in found}) == 6


def test_beams_can_be_sampled_too(model: PreTrainedModel) -> None:
    search: dict[str, Any] = {"do_sample": True, "num_beams": 3, "num_return_sequences": 2}
    assert sequences(model, seed=5, **search) == sequences(model, seed=5, **search)
    assert sequences(model, seed=5, **search) != sequences(model, seed=6, **search)


def test_temperature_changes_what_is_drawn_but_not_how_probable_it_is_called(
    model: PreTrainedModel,
) -> None:
    cold = sequences(model, do_sample=True, temperature=1e-4)
    for sample, best in zip(cold, sequences(model), strict=True):
        assert sample.text == best.text
        assert sample.log_probability == pytest.approx(best.log_probability, abs=1e-4)


def drawn(probabilities: list[float], draws: list[float]) -> list[int]:
    """The token that each draw, in a row of its own, takes of one distribution."""
    scores = torch.tensor(probabilities).log().repeat(len(draws), 1)
    draw = IndependentDraws(torch.tensor(draws, dtype=torch.float64).unsqueeze(1), prompt_length=3)
    left = draw(torch.zeros(len(draws), 3, dtype=torch.int64), scores)
    assert left.isfinite().sum(dim=1).tolist() == [1] * len(draws)
    return left.argmax(dim=1).tolist()


def test_a_draw_takes_the_token_whose_share_holds_it() -> None:
    assert drawn([0.25, 0.5, 0.25], [0.0, 0.24, 0.26, 0.74, 0.76, 1 - 2**-53]) == [0, 0, 1, 1, 2, 2]


def test_a_token_of_no_probability_is_never_drawn() -> None:
    assert drawn([0.0, 0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 1 - 2**-53]) == [1, 3, 3]


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    tokens = drawn([0.1, 0.6, 0.3], np.random.default_rng(0).random(20_000).tolist())
    shares = np.bincount(tokens, minlength=3) / len(tokens)
    assert shares == pytest.approx([0.1, 0.6, 0.3], abs=0.02)


def test_no_token_can_be_drawn_of_nan_but_one_is_there_to_be_scored() -> None:
    assert drawn([math.nan] * 3, [0.5]) == [2]


@pytest.mark.parametrize("top_p", [0.5, 1e-6])
def test_a_nucleus_leaves_out_what_is_improbable(model: PreTrainedModel, top_p: float) -> None:
    nucleus = sequences(model, do_sample=True, num_return_sequences=8, top_p=top_p)
    everything = sequences(model, do_sample=True, num_return_sequences=8)
    assert sum(one.log_probability for one in nucleus) > sum(one.log_probability for one in everything)
    if top_p == 1e-6:
        assert {one.text for one in nucleus} == {one.text for one in sequences(model)}

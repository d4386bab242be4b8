"""Perplexity and its kin, from sums over texts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.metrics.language_modelling import (
    TextLoss,
    language_modelling_metrics,
    language_modelling_metrics_of,
    perplexity,
)

PROBABILITIES = [[0.5, 0.25, 0.125], [0.9], [0.01, 0.6]]
"""Of each token of three texts."""


def texts(probabilities: list[list[float]], *, num_bytes: int | None = None) -> list[TextLoss]:
    return [
        TextLoss(-math.log(math.prod(tokens)), len(tokens), sum(p > 0.5 for p in tokens), num_bytes)
        for tokens in probabilities
    ]


def test_every_token_counts_the_same_whatever_text_it_is_in() -> None:
    found = language_modelling_metrics(texts(PROBABILITIES), resamples=0, seed=0)
    tokens = [probability for text in PROBABILITIES for probability in text]
    assert found["loss"] == pytest.approx(-np.log(tokens).mean())
    # The geometric mean of 1 / p.
    assert found["perplexity"] == pytest.approx(math.prod(tokens) ** (-1 / len(tokens)))
    assert found["token_accuracy"] == 2 / 6
    assert (found["num_tokens"], found["num_examples"]) == (6, 3)
    assert not found.keys() & {"bits_per_byte", "confidence_intervals"}


def test_bits_a_byte_are_the_length_of_the_best_code_over_the_length_of_the_texts() -> None:
    # 1 + 2 + 3 bits for three tokens that stand for 4 bytes.
    found = language_modelling_metrics(texts(PROBABILITIES[:1], num_bytes=4), resamples=0, seed=0)
    assert found["bits_per_byte"] == pytest.approx(6 / 4)


def test_a_text_without_bytes_leaves_no_bits_a_byte() -> None:
    mixed = [*texts(PROBABILITIES[:1], num_bytes=4), *texts(PROBABILITIES[1:])]
    assert "bits_per_byte" not in language_modelling_metrics(mixed, resamples=5, seed=0)


def test_intervals_hold_the_score_and_shrink_to_it_where_all_texts_are_alike() -> None:
    found = language_modelling_metrics(texts(PROBABILITIES * 5, num_bytes=3), resamples=200, seed=1)
    assert found["confidence_intervals"].keys() == {
        "perplexity",
        "loss",
        "token_accuracy",
        "bits_per_byte",
    }
    for name, (low, high) in found["confidence_intervals"].items():
        assert low < found[name] < high
    alike = language_modelling_metrics(texts([[0.25, 0.25]] * 9), resamples=20, seed=1)
    assert alike["confidence_intervals"]["perplexity"] == pytest.approx([4.0, 4.0])
    assert alike["perplexity"] == pytest.approx(4.0)


@given(st.lists(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=5), min_size=1, max_size=8))
def test_the_order_of_texts_changes_nothing_but_the_intervals(probabilities: list[list[float]]) -> None:
    backwards = language_modelling_metrics(texts(probabilities[::-1]), resamples=0, seed=0)
    assert backwards == language_modelling_metrics(texts(probabilities), resamples=0, seed=0)


def test_no_token_has_no_perplexity_and_a_hopeless_model_has_a_finite_one() -> None:
    assert math.isfinite(perplexity(1e9, 1))
    for nothing in ([], [TextLoss(0.0, 0, 0)]):
        found = language_modelling_metrics(nothing, resamples=3, seed=0)
        assert [found[name] for name in ("perplexity", "loss", "token_accuracy")] == [None] * 3
        assert (found["num_tokens"], found["num_examples"]) == (0, len(nothing))
        assert "confidence_intervals" not in found


def test_the_lines_of_details_say_the_same() -> None:
    rows = [
        {"loss": 3.0, "num_tokens": 2, "num_correct": 1},
        {"loss": 1.0, "num_tokens": 2, "num_correct": 2},
    ]
    found = language_modelling_metrics_of(iter(rows), resamples=4, seed=2)
    same = language_modelling_metrics([TextLoss(3.0, 2, 1), TextLoss(1.0, 2, 2)], resamples=4, seed=2)
    assert found == same

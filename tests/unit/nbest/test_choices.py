"""Ranking labels by their logits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rankfold.nbest.choices import rank_any_of, rank_one_of

LOGITS = arrays(np.float32, st.integers(1, 12), elements=st.floats(-120, 120, width=32))


@given(LOGITS)
def test_one_of_them_has_the_softmax_of_the_row(logits: np.ndarray) -> None:
    ranked = rank_one_of(logits)
    weights = [math.exp(float(x) - float(logits.max())) for x in logits]
    expected = np.array(weights) / math.fsum(weights)
    assert np.allclose(ranked.probabilities, expected[ranked.order], rtol=1e-13, atol=1e-300)
    assert math.isclose(ranked.probabilities.sum(), 1, rel_tol=1e-14)


@given(LOGITS)
def test_any_of_them_has_a_sigmoid_of_its_own(logits: np.ndarray) -> None:
    ranked = rank_any_of(logits)
    for place, probability in zip(ranked.order, ranked.probabilities, strict=True):
        assert probability == pytest.approx(1 / (1 + math.exp(-float(logits[place]))), rel=1e-13)


@given(LOGITS)
def test_the_best_comes_first_and_of_equals_the_first(logits: np.ndarray) -> None:
    for ranked in (rank_one_of(logits), rank_any_of(logits)):
        keys = [(-float(logits[place]), place) for place in ranked.order]
        assert keys == sorted(keys)
        assert sorted(ranked.order.tolist()) == list(range(len(logits)))


def test_zeros_of_both_signs_are_equal() -> None:
    assert rank_one_of(np.array([-0.0, 0.0, -0.0], np.float32)).order.tolist() == [0, 1, 2]
    assert rank_any_of(np.array([-0.0, 0.0], np.float32)).probabilities.tolist() == [0.5, 0.5]

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.nbest.softmax import softmax

DIGEST = """
import hashlib, numpy as np
from rankfold.nbest.softmax import softmax
scores = np.random.default_rng(5).normal(0, 20, 20000)
probabilities = np.empty_like(scores)
softmax(scores, np.arange(0, 20001, 20), probabilities)
print(hashlib.sha256(probabilities).hexdigest())
"""


def probabilities(*scores: float) -> list[float]:
    found = np.empty(len(scores))
    softmax(np.array(scores), np.array([0, len(scores)]), found)
    return found.tolist()


@given(st.lists(st.floats(-700, 0), min_size=1, max_size=21))
def test_probabilities_are_exact_to_a_few_units_in_the_last_place(scores: list[float]) -> None:
    weights = [math.exp(score - max(scores)) for score in scores]
    expected = [weight / math.fsum(weights) for weight in weights]
    assert probabilities(*scores) == pytest.approx(expected, rel=2e-15, abs=0)


def test_lists_do_not_share_their_probability() -> None:
    found = np.empty(3)
    softmax(np.array([7.0, 1.0, 1.0]), np.array([0, 1, 1, 3]), found)
    assert found.tolist() == [1.0, 0.5, 0.5]


def test_what_is_below_the_least_normal_number_is_nothing() -> None:
    assert probabilities(0.0, -709.0, -6e38) == [1.0, 0.0, 0.0]


def test_probabilities_have_the_same_bits_on_a_processor_without_fused_multiply_add() -> None:
    plain = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for environment in (plain, os.environ)
    }
    assert len(digests) == 1

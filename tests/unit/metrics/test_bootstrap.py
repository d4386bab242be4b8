"""Bootstrap intervals: seeded, the same bits everywhere, and as wide as they should be."""

import math
import os
import random
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankfold.metrics.bootstrap import bootstrap_interval, percentile_interval, resampled_sums

GOLDEN = ["0x1.eb26ab31789cfp-2", "0x1.06f0942371e3ap-1"]
VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def restated(numerator: list[float], denominator: list[float], resamples: int, seed: int) -> list[float]:
    """The ratio of every resample, adding what was drawn one by one in the order of the examples."""
    generator = np.random.Generator(np.random.PCG64(seed))
    ratios = []
    for _ in range(resamples):
        drawn = sorted(generator.integers(len(numerator), size=len(numerator)).tolist())
        above = math.fsum(numerator[index] for index in drawn)
        below = math.fsum(denominator[index] for index in drawn)
        ratios.append(above / below if below else 0.0)
    return ratios


@given(VALUES, st.integers(1, 40), st.integers(0, 2**32))
@settings(max_examples=50)
def test_an_interval_is_that_of_a_second_writing_with_numpys_quantiles(
    values: list[float], resamples: int, seed: int
) -> None:
    weights = [float(index % 3) for index in range(len(values))]
    expected = np.quantile(restated(values, weights, resamples, seed), [0.025, 0.975])
    interval = bootstrap_interval(values, weights, resamples=resamples, seed=seed)
    assert interval == pytest.approx(expected, abs=1e-12)


def test_the_bits_are_those_of_every_machine() -> None:
    generator = random.Random(0)
    values = [generator.random() for _ in range(1000)]
    interval = bootstrap_interval(values, [1] * 1000, resamples=200, seed=42)
    assert [bound.hex() for bound in interval] == GOLDEN


def test_the_bits_do_not_depend_on_the_vector_instructions_of_the_processor() -> None:
    program = (
        "import random; from rankfold.metrics.bootstrap import bootstrap_interval as interval;"
        "generator = random.Random(0); values = [generator.random() for _ in range(1000)];"
        "print([bound.hex() for bound in interval(values, [1] * 1000, resamples=200, seed=42)])"
    )
    # NumPy has these beyond its baseline; without them its loops are the plain ones.
    found = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    dispatched = np._core._multiarray_umath.__cpu_dispatch__  # type: ignore[attr-defined]
    features = " ".join(feature for feature in dispatched if found[feature])
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": features}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == f"{GOLDEN}\n"


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = [0.1, 0.5, 0.9, 0.3]
    same = [bootstrap_interval(values, [1] * 4, resamples=50, seed=7) for _ in range(2)]
    assert same[0] == same[1] != bootstrap_interval(values, [1] * 4, resamples=50, seed=8)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [([], [], (0.0, 0.0)), ([1.0, 2.0], [0, 0], (0.0, 0.0)), ([3], [4], (0.75, 0.75))],
    ids=["no examples", "no denominator", "one example"],
)
def test_what_has_nothing_to_vary_has_an_interval_of_one_point(
    numerator: list[float], denominator: list[float], expected: tuple[float, float]
) -> None:
    assert bootstrap_interval(numerator, denominator, resamples=20, seed=0) == expected


def test_the_interval_of_a_share_is_about_as_wide_as_the_normal_one() -> None:
    values = [1] * 600 + [0] * 400
    low, high = bootstrap_interval(values, [1] * 1000, resamples=2000, seed=0)
    half_width = 1.96 * math.sqrt(0.6 * 0.4 / 1000)
    assert low == pytest.approx(0.6 - half_width, abs=0.004)
    assert high == pytest.approx(0.6 + half_width, abs=0.004)


def test_less_confidence_is_a_narrower_interval() -> None:
    values = [index / 99 for index in range(100)]
    wide = bootstrap_interval(values, [1] * 100, resamples=500, seed=0)
    narrow = bootstrap_interval(values, [1] * 100, resamples=500, seed=0, confidence=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_counts_and_the_same_numbers_as_floats_have_the_same_sums() -> None:
    counts = list(range(50))
    as_counts, as_floats = resampled_sums([counts, [float(count) for count in counts]], resamples=9, seed=3)
    assert as_counts.tolist() == as_floats.tolist()


def test_a_resample_draws_each_column_from_the_same_examples() -> None:
    ones, twos = resampled_sums([[1] * 8, [2] * 8], resamples=5, seed=0)
    assert ones.tolist() == [8.0] * 5
    assert twos.tolist() == [16.0] * 5


def test_the_whole_interval_is_within_the_ratios() -> None:
    ratios = np.array([0.1, 0.2, 0.4])
    assert percentile_interval(ratios, np.ones(3), confidence=1.0) == (0.1, 0.4)


def test_columns_of_different_lengths_and_no_resamples_are_errors() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        bootstrap_interval([1], [1, 2], resamples=5, seed=0)
    with pytest.raises(ValueError, match="0 resamples"):
        bootstrap_interval([1], [1], resamples=0, seed=0)


def test_memory_grows_with_the_examples_not_with_the_resamples() -> None:
    values = np.random.default_rng(0).random(100_000)
    ones = np.ones(100_000, dtype=np.int64)
    tracemalloc.start()
    bootstrap_interval(values, ones, resamples=20, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000 * 8 * 8

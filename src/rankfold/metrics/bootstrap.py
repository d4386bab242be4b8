"""Confidence intervals by the bootstrap: how much a score would move with other examples of the kind.

Efron 1979; the interval is the percentile one. The draws come from NumPy's PCG64 and every sum is made one
addition after the other, so the same seed gives the same bits on every machine.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rankfold.metrics.counts import ratio

CONFIDENCE = 0.95


def bootstrap_interval(
    numerator: ArrayLike, denominator: ArrayLike, *, resamples: int, seed: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the percentile interval of sum(numerator) / sum(denominator) over resampled examples.

    With ones as denominator that is a mean, with counts it is a micro average. No examples, and a resample
    without a denominator, give 0.0.

    Args:
        numerator: One finite number an example.
        denominator: One finite number an example.
        resamples: How many times as many examples are drawn with replacement.
        seed: Seed of the draws: scores with the same seed are scores of the same resamples.
        confidence: Share of the resamples within the interval.

    Raises:
        ValueError: The two have different lengths, or there is no resample.
    """
    numerators, denominators = resampled_sums([numerator, denominator], resamples=resamples, seed=seed)
    return percentile_interval(numerators, denominators, confidence=confidence)


def resampled_sums(columns: Sequence[ArrayLike], *, resamples: int, seed: int) -> NDArray[np.float64]:
    """Return the sum of each column over each resample, shape `(num_columns, resamples)`.

    Raises:
        ValueError: The columns have different lengths, or there is no resample.
    """
    if resamples < 1:
        raise ValueError(f"{resamples} resamples; an interval needs at least 1")
    arrays = [_widened(np.asarray(column)) for column in columns]
    num_examples = len(arrays[0])
    if any(array.shape != (num_examples,) for array in arrays):
        raise ValueError(f"columns of different shapes: {[array.shape for array in arrays]}")
    sums = np.zeros((len(arrays), resamples))
    for resample, times in enumerate(resampled_times(num_examples, resamples=resamples, seed=seed)):
        sums[:, resample] = [_sum_of_drawn(array, times) for array in arrays]
    return sums


def resampled_times(num_examples: int, *, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield how often each example was drawn into each resample; nothing where there are no examples."""
    generator = np.random.Generator(np.random.PCG64(seed))
    for _ in range(resamples if num_examples else 0):
        yield np.bincount(generator.integers(num_examples, size=num_examples), minlength=num_examples)


def _widened(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float64 if np.issubdtype(values.dtype, np.floating) else np.int64)


def _sum_of_drawn(values: NDArray[Any], times: NDArray[np.int64]) -> float:
    if np.issubdtype(values.dtype, np.integer):
        return float(times @ values)  # exact, whatever the order
    # Not sum() or a dot product: they add in an order that depends on the processor's vector width.
    products = times * values
    return float(np.add.accumulate(products, out=products)[-1])


def percentile_interval(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval that holds the middle `confidence` of the ratios, one ratio a resample."""
    ratios = sorted(map(ratio, numerators.tolist(), denominators.tolist()))
    tail = (1 - confidence) / 2
    return _quantile(ratios, tail), _quantile(ratios, 1 - tail)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Interpolate between neighbours, as NumPy does unless told otherwise."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

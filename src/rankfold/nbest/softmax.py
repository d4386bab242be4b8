"""Probabilities over each example's list, from additions and multiplications alone.

The C library's `exp` and numpy's give other last bits on a processor with fused multiply-add than on one
without. IEEE 754 leaves no choice about the operations used here.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.nbest.kernels import kernel

_LEAST_EXPONENT = -708.0
"""exp of less is below the least normal double; it counts as 0 here, whatever the processor does there."""

_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693147180369123816490
"""The leading 32 bits of ln 2: a multiple of it by an exponent of two is exact (W. J. Cody and W. Waite)."""
_LN2_LOW = 1.90821492927058770002e-10

_TAYLOR = tuple(1 / math.factorial(term) for term in range(13, -1, -1))
"""For |r| ≤ ln(2) / 2, where the 14th term is below 2^-57."""


@kernel
def softmax(
    scores: npt.NDArray[np.float64], row_starts: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> None:
    """Fill `probabilities` with the softmax over each list of finite `scores`.

    Args:
        scores: (num_candidates,).
        row_starts: (num_lists + 1,), where each list begins in `scores`.
        probabilities: (num_candidates,).
    """
    for row in range(len(row_starts) - 1):
        first, stop = row_starts[row], row_starts[row + 1]
        greatest = -np.inf
        for place in range(first, stop):
            greatest = max(greatest, scores[place])
        total = 0.0
        # The least weights, which come last, first: they would be lost beside the others.
        for place in range(stop - 1, first - 1, -1):
            probabilities[place] = _exp(scores[place] - greatest)
            total += probabilities[place]
        for place in range(first, stop):
            probabilities[place] /= total


@kernel
def _exp(x: Any) -> Any:
    """The exponential of x ≤ 0 to about one unit in the last place: 2^k · e^r, the latter by Taylor."""
    if x < _LEAST_EXPONENT:
        return 0.0
    power = np.floor(x * _LOG2_E + 0.5)
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    total = 0.0
    for coefficient in _TAYLOR:
        total = total * rest + coefficient
    return total * np.int64((np.int64(power) + 1023) << 52).view(np.float64)

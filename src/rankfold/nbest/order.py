"""One total order on (logit, index) pairs, the same on every machine and in every library.

`np.argsort` is not stable by default and `torch.topk` leaves the order of ties open, so ties, which
half-precision logits have in plenty, would be broken differently from machine to machine. Here a pair
becomes one int64, and integers have only one order.
"""

import numpy as np
import numpy.typing as npt

INDEX_MASK = (1 << 32) - 1
"""Largest index that can be packed."""

NOTHING = np.iinfo(np.int64).min
"""A key below every key of a pair: the place of something that does not take part."""


def ordered_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Integers in the order of finite `values`, equal exactly where the values are (-0.0 equals 0.0).

    A float is sign and magnitude, and magnitudes are ordered as their bits are. Working on the bits
    also keeps subnormal numbers apart where the processor flushes them to zero.
    """
    bits = values.view(np.int32).astype(np.int64)
    magnitude = bits & 0x7FFFFFFF
    return np.where(bits < 0, -magnitude, magnitude)


def pack(values: npt.NDArray[np.float32], index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Keys in the order "value, then index", both ascending; `index` (0 … INDEX_MASK) broadcasts."""
    return (ordered_bits(values) << 32) + index


def unpack_index(keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The index that was packed into each key."""
    return keys & INDEX_MASK


def largest(keys: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The `count` largest keys of each row, largest first: (rows, columns) → (rows, ≤ count)."""
    surplus = keys.shape[1] - count
    if surplus > 0:
        keys = np.partition(keys, surplus, axis=1)[:, surplus:]
    return np.sort(keys, axis=1)[:, ::-1]

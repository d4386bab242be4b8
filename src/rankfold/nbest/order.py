"""One total order on (logit, index) pairs, the same on every machine and in every library.

`np.argsort` is not stable by default and `torch.topk` leaves the order of ties open, so ties, which
half-precision logits have in plenty, would be broken differently from machine to machine. Here a pair
becomes one int64, and integers have only one order. Working on the bits of the floats also keeps
subnormal numbers apart where the processor flushes them to zero.

`ordered` and `key` are the definition. They use nothing but integer operators, so the same two functions
serve numpy arrays, torch tensors and, scalar by scalar, the kernel below.
"""

from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from rankfold.nbest.kernels import also_in_kernels, kernel

INDEX_MASK = (1 << 32) - 1
"""Largest index that can be packed."""

NOTHING = -(1 << 63)
"""A key below every key of a pair: the place of something that does not take part."""

MAGNITUDE_MASK = 0x7FFFFFFF
"""The bits of a float32 without its sign."""

INFINITE_MAGNITUDE = 0x7F800000
"""The magnitude of infinity; those of NaN are above, those of finite numbers below."""

KEYS_A_BLOCK = 16
"""Near the square root of common window lengths, which makes the search for the next best shortest."""


class Integers(Protocol):
    """An int, a numpy array of int64 or a torch tensor of int64."""

    def __and__(self, other: Any, /) -> Self: ...
    def __xor__(self, other: Any, /) -> Self: ...
    def __rshift__(self, other: Any, /) -> Self: ...
    def __lshift__(self, other: Any, /) -> Self: ...
    def __add__(self, other: Any, /) -> Self: ...
    def __sub__(self, other: Any, /) -> Self: ...


IntegersT = TypeVar("IntegersT", bound=Integers)


@also_in_kernels
def ordered(bits: IntegersT) -> IntegersT:
    """Integers in the order of the finite float32 whose bits, as signed integers, are `bits` (int64).

    Equal exactly where the floats are: -0.0 equals 0.0. A float is sign and magnitude, and magnitudes
    are ordered as their bits are, so only the negative ones must be negated, by x ^ -1 - -1.
    """
    sign = bits >> 63
    return ((bits & MAGNITUDE_MASK) ^ sign) - sign


@also_in_kernels
def key(bits: IntegersT, index: IntegersT) -> IntegersT:
    """int64 keys in the order "value, then index", both ascending; `index` is 0 … INDEX_MASK."""
    keys: IntegersT = (ordered(bits) << 32) + index
    return keys


@also_in_kernels
def unpack_index(keys: IntegersT) -> IntegersT:
    """The index that was packed into each key."""
    return keys & INDEX_MASK


@kernel
def keep_best(
    bits: npt.NDArray[np.int32],
    first_token: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    positions: npt.NDArray[np.uint16],
    kept: npt.NDArray[np.int32],
) -> int:
    """Fill `positions` and `kept` with each window's best tokens, best first; return how many are broken.

    A tournament: the best key of every block is known, the best of these is taken, and only its block is
    looked through again. It takes the same time whatever the logits are.

    Args:
        bits: (num_windows, max_length), float32 logits by their bits, so that no float is ever computed.
        first_token: (num_windows,), column of the first real token; nothing but real tokens is read.
        lengths: (num_windows,), real tokens of each window.
        positions: (num_windows, count), from the first real token; left alone where a window is shorter.
        kept: (num_windows, count), bits of the logits at `positions`.

    Returns:
        The number of windows with a logit that is NaN or infinite, whose rows mean nothing.
    """
    blocks = np.empty((-(-bits.shape[1] // KEYS_A_BLOCK), KEYS_A_BLOCK), np.int64)
    keys, bests = blocks.reshape(-1), np.empty(len(blocks), np.int64)
    num_broken = 0
    for row in range(len(bits)):
        window = bits[row, first_token[row] : first_token[row] + lengths[row]]
        if _fill(keys, window) >= INFINITE_MAGNITUDE:
            num_broken += 1
        for block in range(len(blocks)):
            bests[block] = _largest(blocks[block], KEYS_A_BLOCK)
        for rank in range(min(positions.shape[1], len(window))):
            token = unpack_index(_largest(bests, len(bests)))
            positions[row, rank], kept[row, rank] = token, window[token]
            keys[token] = NOTHING
            block = token // KEYS_A_BLOCK
            bests[block] = _largest(blocks[block], KEYS_A_BLOCK)
    return num_broken


@also_in_kernels
def _fill(keys: npt.NDArray[np.int64], window: npt.NDArray[np.int32]) -> np.int32:
    """Write the keys of a window, then NOTHING to the end; return its largest magnitude."""
    largest = np.int32(0)
    for token in range(len(window)):
        largest = max(largest, window[token] & np.int32(MAGNITUDE_MASK))
        keys[token] = key(np.int64(window[token]), np.int64(token))
    keys[len(window) :] = NOTHING
    return largest


@also_in_kernels
def _largest(keys: npt.NDArray[np.int64], count: int) -> int:
    """The largest of the first `count` keys; where that is a constant, the loop is unrolled."""
    largest = NOTHING
    for place in range(count):
        largest = max(largest, keys[place])
    return largest

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankfold.nbest.kernels import kernel
from rankfold.nbest.order import NOTHING, key, ordered, unpack_index

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = 1e-45
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
"""Subnormal numbers and both zeros are among them."""


def bits_of(values: list[float]) -> npt.NDArray[np.int64]:
    return np.array(values, dtype=np.float32).view(np.int32).astype(np.int64)


@given(FLOATS, FLOATS)
def test_the_order_of_the_bits_is_the_order_of_the_floats(first: float, second: float) -> None:
    a, b = ordered(bits_of([first, second])).tolist()
    assert (a < b, a == b) == (first < second, first == second)


def test_the_two_zeros_are_equal_and_the_smallest_numbers_beside_them_are_not() -> None:
    assert ordered(bits_of([-SMALLEST, -0.0, 0.0, SMALLEST])).tolist() == [-1, 0, 0, 1]


def test_of_equal_values_the_higher_index_has_the_greater_key() -> None:
    keys = key(bits_of([1.5, 1.5, -0.0, 0.0]), np.array([0, 1, 2, 3]))
    assert keys[1] > keys[0] > keys[3] > keys[2]


@given(FLOATS, st.integers(0, (1 << 32) - 1))
def test_an_index_comes_back_from_its_key(value: float, index: int) -> None:
    assert unpack_index(key(int(bits_of([value])[0]), index)) == index


def test_nothing_is_below_the_least_float() -> None:
    assert key(int(bits_of([-LARGEST])[0]), 0) > NOTHING


@kernel
def keys_one_by_one(bits: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]) -> None:
    for index in range(len(bits)):
        keys[index] = key(bits[index], np.int64(index))


def with_python(bits: npt.NDArray[np.int64]) -> list[int]:
    return [key(int(value), index) for index, value in enumerate(bits)]


def with_numpy(bits: npt.NDArray[np.int64]) -> list[int]:
    return list(map(int, key(bits, np.arange(len(bits)))))


def with_torch(bits: npt.NDArray[np.int64]) -> list[int]:
    return list(map(int, key(torch.from_numpy(bits), torch.arange(len(bits)))))


def with_numba(bits: npt.NDArray[np.int64]) -> list[int]:
    keys = np.zeros_like(bits)
    keys_one_by_one(bits, keys)
    return list(map(int, keys))


@pytest.mark.parametrize("backend", [with_numpy, with_torch, with_numba])
@given(st.lists(FLOATS | st.sampled_from([0.0, -0.0, SMALLEST, -SMALLEST, LARGEST, -LARGEST])))
def test_every_backend_computes_the_keys_that_python_computes(
    backend: Callable[[npt.NDArray[np.int64]], list[int]], values: list[float]
) -> None:
    assert backend(bits_of(values)) == with_python(bits_of(values))

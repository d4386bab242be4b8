import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rankfold.nbest.order import NOTHING, largest, ordered_bits, pack, unpack_index

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=2, max_size=2))
def test_the_order_of_the_bits_is_the_order_of_the_floats(values: list[float]) -> None:
    a, b = (int(bits) for bits in ordered_bits(np.array(values, dtype=np.float32)))
    assert (a < b, a == b) == (values[0] < values[1], values[0] == values[1])


def test_the_two_zeros_are_equal_and_the_smallest_numbers_beside_them_are_not() -> None:
    tiny = np.float32(1e-45)
    bits = ordered_bits(np.array([-tiny, -0.0, 0.0, tiny], dtype=np.float32))
    assert bits.tolist() == [-1, 0, 0, 1]


@given(st.lists(st.sampled_from([-1.5, -0.0, 0.0, 2.0]), min_size=1, max_size=30), st.integers(1, 20))
def test_the_largest_keys_are_a_stable_ascending_sort_reversed(values: list[float], count: int) -> None:
    logits = np.array([values], dtype=np.float32)
    best = unpack_index(largest(pack(logits, np.arange(len(values))), count))
    ascending = sorted(range(len(values)), key=lambda position: values[position])
    assert best[0].tolist() == ascending[::-1][:count]


def test_nothing_is_below_the_least_float() -> None:
    least = np.array([np.finfo(np.float32).min], dtype=np.float32)
    assert pack(least, np.array([0]))[0] > NOTHING

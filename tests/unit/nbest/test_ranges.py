import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.nbest.ranges import ExampleRange, example_ranges, part_of_examples
from rankfold.nbest.units import plan_units

NUM_WINDOWS = st.lists(st.integers(0, 8), max_size=30)
"""Windows of each example."""


@given(NUM_WINDOWS, st.integers(1, 12), st.integers(1, 7))
def test_ranges_of_all_parts_hold_every_example_and_every_row_once(
    num_windows: list[int], max_rows: int, num_parts: int
) -> None:
    example_of_row = np.repeat(np.arange(len(num_windows)), num_windows)
    pieces = [
        piece
        for part in range(num_parts)
        for piece in example_ranges(
            example_of_row, part_of_examples(len(num_windows), part, num_parts), max_rows=max_rows
        )
    ]
    assert [example for piece in pieces for example in piece.examples] == list(range(len(num_windows)))
    assert [row for piece in pieces for row in piece.rows] == list(range(len(example_of_row)))
    for piece in pieces:
        assert set(example_of_row[piece.rows.start : piece.rows.stop]) <= set(piece.examples)
        assert len(piece.rows) <= max_rows or len(piece.examples) == 1


def test_a_range_needs_the_units_that_hold_one_of_its_rows() -> None:
    units = plan_units(10, 3)
    assert [unit.index for unit in ExampleRange(range(1, 2), range(3, 6)).units(units)] == [1]
    assert [unit.index for unit in ExampleRange(range(1, 4), range(2, 7)).units(units)] == [0, 1, 2]
    assert ExampleRange(range(4, 5), range(6, 6)).units(units) == []


@pytest.mark.parametrize("part", [-1, 2])
def test_a_part_that_does_not_exist_is_refused(part: int) -> None:
    with pytest.raises(ValueError, match=f"part {part} is not one of 2: 0 to 1"):
        part_of_examples(10, part, 2)

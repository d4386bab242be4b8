import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.collate import attention_mask, pad

ROWS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=20), min_size=1, max_size=5)
SIDES = st.sampled_from(["left", "right"])


@given(ids=ROWS, side=SIDES)
def test_the_mask_leaves_exactly_the_rows_that_went_in(ids: list[list[int]], side: str) -> None:
    rows = [{"input_ids": row} for row in ids]
    padded = pad(rows, "input_ids", 0, side)
    mask = attention_mask(rows, padded, side)
    assert [padded[row][mask[row].bool()].tolist() for row in range(len(ids))] == ids
    assert set(padded[mask == 0].tolist()) <= {0}
    assert (padded.dtype, mask.dtype) == (torch.int64, torch.int64)


@given(ids=ROWS, side=SIDES)
def test_a_batch_is_as_long_as_its_longest_row_rounded_up_to_eight(ids: list[list[int]], side: str) -> None:
    width = pad([{"input_ids": row} for row in ids], "input_ids", 0, side).shape[1]
    assert width % 8 == 0
    assert 0 <= width - max(map(len, ids)) < 8


@pytest.mark.parametrize(
    ("side", "expected"),
    [("right", [[1, 2, 3, -100], [4, -100, -100, -100]]), ("left", [[-100, 1, 2, 3], [-100, -100, -100, 4]])],
)
def test_padding_stands_on_the_side_it_was_asked_for(side: str, expected: list[list[int]]) -> None:
    padded = pad([{"labels": [1, 2, 3]}, {"labels": [4]}], "labels", -100, side)
    outside = padded[:, 4:] if side == "right" else padded[:, :4]
    inside = padded[:, :4] if side == "right" else padded[:, 4:]
    assert inside.tolist() == expected
    assert set(outside.flatten().tolist()) == {-100}

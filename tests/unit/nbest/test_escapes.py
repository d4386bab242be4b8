import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.nbest.escapes import escaped_slices, text_column

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/\n\x00\x1f\x7fua中𝄞\u2028'))


@given(st.lists(st.tuples(texts, st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12))))))
def test_the_escape_of_every_slice_is_what_json_makes_of_it(
    drawn: list[tuple[str, list[tuple[int, int]]]],
) -> None:
    slices = [(text, start, end) for text, pairs in drawn for start, end in pairs]
    found = escaped_slices(
        [text for text, _ in drawn],
        np.cumsum([0, *(len(pairs) for _, pairs in drawn)]),
        np.array([start for _, start, _ in slices], np.int32),
        np.array([end for *_, end in slices], np.int32),
    ).to_pylist()
    assert found == [json.dumps(text[start:end], ensure_ascii=False)[1:-1] for text, start, end in slices]


def test_a_slice_that_starts_nowhere_is_empty() -> None:
    nowhere = np.full(1, -1, np.int32)
    assert escaped_slices(["text"], np.array([0, 1]), nowhere, nowhere).to_pylist() == [""]


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        escaped_slices(["\ud800"], np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))


def test_a_column_of_texts_holds_them_as_they_are() -> None:
    assert text_column(["a", "", "中"]).to_pylist() == ["a", "", "中"]
    assert text_column([]).to_pylist() == []

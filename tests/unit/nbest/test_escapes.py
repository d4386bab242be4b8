import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.nbest.escapes import TextColumn, escaped_slices, escaped_texts, text_column

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/\n\x00\x1f\x7fua中𝄞\u2028'))


def texts_of(column: TextColumn) -> list[str]:
    content = column.content.tobytes()
    return [content[first:stop].decode() for first, stop in zip(column.firsts, column.stops, strict=True)]


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
    )
    assert texts_of(found) == [
        json.dumps(text[start:end], ensure_ascii=False)[1:-1] for text, start, end in slices
    ]


@given(st.lists(texts))
def test_the_escape_of_every_text_is_what_json_makes_of_it(drawn: list[str]) -> None:
    assert texts_of(escaped_texts(drawn)) == [json.dumps(text, ensure_ascii=False)[1:-1] for text in drawn]


def test_every_character_that_json_escapes_is_escaped() -> None:
    every = "".join(map(chr, range(256)))
    assert texts_of(escaped_texts([every])) == [json.dumps(every, ensure_ascii=False)[1:-1]]


def test_a_slice_that_starts_nowhere_is_empty() -> None:
    nowhere = np.full(1, -1, np.int32)
    assert texts_of(escaped_slices(["text"], np.array([0, 1]), nowhere, nowhere)) == [""]


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        text_column(["\ud800"])


def test_a_column_of_texts_holds_them_as_they_are() -> None:
    column = text_column(["a", "", "中"])
    assert (texts_of(column), column.num_bytes) == (["a", "", "中"], 4)
    assert texts_of(text_column([])) == []

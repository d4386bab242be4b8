"""Rows as examples: what a table says otherwise than a field's type is taken as it was meant."""

import math
from typing import Any

import pytest

from rankfold.data.examples import (
    ChatExample,
    ChoiceExample,
    Message,
    SequencePairExample,
    TextExample,
    TextPairExample,
)
from rankfold.data.rows import example_of_row
from rankfold.errors import DataError


def text(**values: Any) -> TextExample:
    return example_of_row(TextExample, {"id": "1", "text": "a", **values}, "file:1")


def test_a_single_value_is_a_list_of_one_and_numbers_are_texts() -> None:
    example = example_of_row(TextExample, {"id": 7, "text": "a", "labels": 3, "more": object()}, "file:1")
    assert example == TextExample("7", "a", None, ("3",))


@pytest.mark.parametrize("nothing", [None, "", math.nan])
def test_what_may_be_left_out_is_left_out_where_a_table_has_nothing(nothing: Any) -> None:
    assert text(text_pair=nothing, labels=nothing) == TextExample("1", "a")
    pair = example_of_row(TextPairExample, {"id": "1", "text": "a", "score": nothing}, "file:1")
    assert pair.score is None


def test_an_empty_text_that_is_needed_stays_for_cleaning_to_count() -> None:
    assert example_of_row(SequencePairExample, {"id": "1", "source": ""}, "file:1").source == ""


def test_digits_of_a_csv_are_numbers_where_numbers_are_wanted() -> None:
    row = {"id": "1", "question": "?", "choices": ["a", "b"], "answer": "1"}
    assert example_of_row(ChoiceExample, row, "file:1").answer == 1
    assert example_of_row(TextPairExample, {"id": "1", "text": "a", "score": "0.5"}, "file:1").score == 0.5


def test_messages_are_roles_and_contents_and_what_else_they_hold_is_left_alone() -> None:
    messages = [{"role": "user", "content": "Hi", "name": "Anna"}, {"role": "assistant", "content": "Hello"}]
    example = example_of_row(ChatExample, {"id": "1", "messages": messages}, "file:1")
    assert example.messages == (Message("user", "Hi"), Message("assistant", "Hello"))


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (TextExample, {"id": "1", "sentence": "a"}, "there is no text; the row has sentence"),
        (TextExample, {"id": "1", "text": math.nan}, "there is no text"),
        (TextExample, {"id": "1", "text": ["a"]}, "text: Input should be a valid string; found"),
        (TextExample, {"id": "1", "text": "a", "labels": [{}]}, "labels.0: Input should be a valid string"),
        (TextPairExample, {"id": "1", "text": "a", "score": math.inf}, "score: must be a finite number"),
        (TextPairExample, {"id": "1", "text": "a", "score": "nan"}, "score: must be a finite number"),
        (
            ChoiceExample,
            {"id": "1", "question": "?", "choices": ["a"], "answer": "B"},
            "answer: Input should",
        ),
        (ChatExample, {"id": "1", "messages": [{"role": "bot", "content": ""}]}, "messages.0.role: Input"),
    ],
)
def test_a_row_that_is_no_example_is_located(kind: Any, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        example_of_row(kind, row, "file:1")
    assert message in caught.value.message
    assert caught.value.where == "file:1"

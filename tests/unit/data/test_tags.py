"""Entities as tags, one a token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Span
from rankfold.data.tags import tag_entities, tag_names

LABELS = ["person", "place"]
STARTS, ENDS = [0, 4, 8, 9], [3, 7, 9, 12]
"""The tokens of "Ann Lee, Ulm" if there were none between the comma and Ulm."""


def tagged(*entities: Span) -> tuple[list[str], dict[str, int]]:
    text = tag_entities(entities, STARTS, ENDS, LABELS)
    return [tag_names(LABELS)[tag] for tag in text.tags], dict(text.dropped)


def test_tags_are_named_o_then_b_and_i_of_each_label_in_order() -> None:
    assert tag_names(LABELS) == ["O", "B-person", "I-person", "B-place", "I-place"]


def test_the_first_token_of_an_entity_begins_it_and_the_others_are_inside() -> None:
    spans = Span(0, 7, "person"), Span(9, 12, "place")
    assert tagged(*spans) == (["B-person", "I-person", "O", "B-place"], {})


def test_neighbours_of_one_label_stay_two() -> None:
    assert tagged(Span(0, 3, "place"), Span(4, 7, "place"))[0] == ["B-place", "B-place", "O", "O"]


@pytest.mark.parametrize("span", [Span(1, 6, "person"), Span(0, 5, "person"), Span(2, 8, "person")])
def test_a_token_belongs_to_an_entity_that_has_only_a_part_of_its_characters(span: Span) -> None:
    assert tagged(span) == (["B-person", "I-person", "O", "O"], {})
    assert tag_entities([span], STARTS, ENDS, LABELS).repaired == {"entity_border_inside_a_token": 1}


def test_an_entity_of_whole_tokens_is_learned_as_it_is() -> None:
    assert not tag_entities([Span(0, 7, "person")], STARTS, ENDS, LABELS).repaired


def test_an_entity_that_no_token_shows_is_counted() -> None:
    assert tagged(Span(3, 4, "person")) == (["O"] * 4, {"entity_without_a_token": 1})


@pytest.mark.parametrize(
    ("spans", "tags"),
    [
        # The longest, and both of two that it does not touch.
        ([Span(0, 3, "place"), Span(0, 7, "person")], ["B-person", "I-person", "O", "O"]),
        # The one that starts first, of equal length.
        ([Span(4, 7, "place"), Span(2, 5, "person")], ["B-person", "I-person", "O", "O"]),
        # The label that sorts first, of equal place.
        ([Span(0, 3, "place"), Span(0, 3, "person")], ["B-person", "O", "O", "O"]),
        # Both halves of one token.
        ([Span(9, 10, "place"), Span(10, 12, "person")], ["O", "O", "O", "B-person"]),
    ],
)
def test_of_entities_that_share_a_token_one_is_kept(spans: list[Span], tags: list[str]) -> None:
    assert tagged(*spans) == (tags, {"entity_overlaps_a_longer_one": 1})


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 6), st.sampled_from(LABELS)), max_size=6))
def test_the_order_of_the_entities_does_not_matter_and_none_is_lost_uncounted(
    entities: list[tuple[int, int, str]],
) -> None:
    spans = sorted({Span(start, start + length, label) for start, length, label in entities})
    text = tag_entities(spans, STARTS, ENDS, LABELS)
    assert text == tag_entities(spans[::-1], STARTS, ENDS, LABELS)
    assert sum(tag % 2 for tag in text.tags) + text.dropped.total() == len(spans)

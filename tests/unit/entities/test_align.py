"""Generated entities are found in their text, each mention once."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import EntityExample, Span
from rankfold.data.readers import read_examples
from rankfold.entities.align import align
from rankfold.entities.parse import GeneratedEntity, parse_entities
from rankfold.entities.prompt import ENGLISH, answer_text
from rankfold.recipe.schema import Source


def places(text: str, *surfaces: str) -> list[tuple[int, int, str]]:
    """Align entities of one label; return start, end and status of each that is in the text."""
    entities = [GeneratedEntity(surface, "x") for surface in surfaces]
    return [(span.start, span.end, status) for span, status in align(entities, text, ["x"]).spans]


def test_repeats_take_mentions_from_left_to_right() -> None:
    assert places("Ulm and Ulm", "Ulm", "Ulm") == [(0, 3, "exact"), (8, 11, "exact")]


def test_a_repeat_beyond_the_mentions_of_the_text_is_invented() -> None:
    entities = [GeneratedEntity("Ulm", "x")] * 2
    result = align(entities, "Ulm", ["x"])
    assert [place.span for place in result.spans] == [Span(0, 3, "x")]
    assert result.invented == (GeneratedEntity("Ulm", "x"),)


def test_a_mention_is_used_once_whatever_the_label() -> None:
    entities = [GeneratedEntity("Paris", "person"), GeneratedEntity("Paris", "place")]
    result = align(entities, "Paris in Paris", ["person", "place"])
    assert [place.span for place in result.spans] == [Span(0, 5, "person"), Span(9, 14, "place")]


def test_what_is_not_in_the_text_is_invented() -> None:
    result = align([GeneratedEntity("Bonn", "x"), GeneratedEntity(" ", "x")], "Ulm", ["x"])
    assert result.spans == ()
    assert result.invented == (GeneratedEntity("Bonn", "x"), GeneratedEntity(" ", "x"))


def test_a_label_that_was_not_asked_for_is_invented_and_takes_no_mention() -> None:
    entities = [GeneratedEntity("Ulm", "city"), GeneratedEntity("Ulm", "place")]
    result = align(entities, "Ulm", ["place"])
    assert [place.span for place in result.spans] == [Span(0, 3, "place")]
    assert result.invented == (GeneratedEntity("Ulm", "city"),)


@pytest.mark.parametrize(
    ("text", "surface", "start", "end"),
    [
        ("in ULM now", "ulm", 3, 6),
        ("İstanbul ve İzmir", "i̇zmir", 12, 17),
        ("İİ Ulm", "ulm", 3, 6),
        ("die Straße", "STRASSE", 4, 10),
        ("ＡＰＥＣ会议", "apec", 0, 4),
        ("in New\n  York", "New York", 3, 13),
        ("in New York", " new\tyork ", 3, 11),
        ("caf\u00e9 Ulm", "CAFE\u0301", 0, 4),
        ("cafe\u0301 Ulm", "CAF\u00c9", 0, 5),
        ("ﬁnland", "Finland", 0, 6),
    ],
)
def test_case_width_and_white_space_do_not_matter_and_offsets_are_the_originals(
    text: str, surface: str, start: int, end: int
) -> None:
    assert places(text, surface) == [(start, end, "normalised")]


def test_half_of_a_character_is_no_mention() -> None:
    assert places("Straße", "S") == [(0, 1, "exact")]
    assert places("aß", "S") == []
    assert places("caf\u00e9", "CAFE") == []


def test_a_precise_entity_keeps_its_mention_from_a_sloppy_one() -> None:
    assert places("Ulm or ulm", "ULM", "Ulm") == [(7, 10, "normalised"), (0, 3, "exact")]


def test_a_mention_beside_those_used_comes_before_one_inside() -> None:
    text = "New York Times, New York"
    assert places(text, "New York Times", "New York") == [(0, 14, "exact"), (16, 24, "exact")]
    assert places("New York Times", "New York Times", "New York") == [(0, 14, "exact"), (0, 8, "exact")]


def test_a_whole_word_comes_before_a_part_of_one() -> None:
    assert places("@TeamShane likes Shane", "Shane") == [(17, 22, "exact")]
    assert places("Shane likes @TeamShane", "Shane", "Shane") == [(0, 5, "exact"), (17, 22, "exact")]


def test_scripts_without_spaces_have_no_words_to_cut() -> None:
    assert places("北京人在 北京", "北京") == [(0, 2, "exact")]


@given(st.lists(st.text("abcß İé在京\n", min_size=1, max_size=4), min_size=1, max_size=6))
def test_surfaces_that_occur_once_come_back_where_they_were(pieces: list[str]) -> None:
    text, spans = "", []
    for piece in pieces:
        spans.append(Span(len(text), len(text) + len(piece), "x"))
        text += piece
    unique = [span for span in spans if occurs_once(text, text[span.start : span.end])]
    entities = [GeneratedEntity(text[span.start : span.end], "x") for span in unique]
    result = align(entities, text, ["x"])
    assert [place.span for place in result.spans] == unique
    assert result.invented == ()


def occurs_once(text: str, part: str) -> bool:
    return text.find(part) == text.rfind(part)


@given(st.lists(st.text(min_size=1, max_size=3), max_size=6), st.text(max_size=20))
def test_every_entity_is_either_placed_or_invented_and_no_mention_is_used_twice(
    surfaces: list[str], text: str
) -> None:
    result = align([GeneratedEntity(surface, "x") for surface in surfaces], text, ["x"])
    spans = [place.span for place in result.spans]
    assert len(spans) + len(result.invented) == len(surfaces)
    assert len(set(spans)) == len(spans)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)


@pytest.mark.parametrize(
    ("name", "format_name", "num_gold", "num_lost"),
    [("ccfbdci/ccfbdci.jsonl.gz", "ccfbdci", 12_581, 91), ("wnut17/emerging.dev.conll", "conll", 836, 0)],
)
def test_gold_answers_of_real_data_come_back_but_for_later_mentions_of_an_unlabelled_word(
    shared_data: Path, name: str, format_name: Literal["ccfbdci", "conll"], num_gold: int, num_lost: int
) -> None:
    result = read_examples(Source(path=str(shared_data / name), format=format_name))
    gold, found = 0, 0
    for example in result.examples:
        assert isinstance(example, EntityExample)
        answer = parse_entities(answer_text(example.entities, example.text, ENGLISH), ENGLISH)
        alignment = align(answer.entities, example.text, result.labels)
        assert not alignment.invented
        gold += len(example.entities)
        found += len({place.span for place in alignment.spans} & set(example.entities))
    assert (gold, gold - found) == (num_gold, num_lost)

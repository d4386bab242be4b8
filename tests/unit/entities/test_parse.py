"""Whatever a model writes is read as far as it can be, and never raises."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rankfold.data.examples import Span
from rankfold.entities.parse import GeneratedEntity, ParseResult, parse_entities
from rankfold.entities.prompt import CHINESE, ENGLISH, Wording, answer_text

ANN = '{"text": "Ann", "label": "person"}'
ULM = '{"text": "Ulm", "label": "place"}'
BOTH = (GeneratedEntity("Ann", "person"), GeneratedEntity("Ulm", "place"))


def parse(generated: str) -> ParseResult:
    return parse_entities(generated, ENGLISH)


@pytest.mark.parametrize(
    "generated",
    [
        f"{ANN}\n{ULM}",
        f"{ANN}{ULM}",
        f"{ANN}, {ULM}",
        f"[{ANN}, {ULM}]",
        f"[{ANN},\n {ULM}",
        f"```json\n{ANN}\n{ULM}\n```",
        f"Sure! Here they are:\n- {ANN}\n- {ULM}\nAnything else?",
        f'{{"entities": [{ANN}, {ULM}]}}',
        f"{ANN}\n{ULM}\n{ENGLISH.no_entities}",
        '{"entity_text": "Ann", "entity_label": "person"} {"label": "place", "text": "Ulm", "n": 1}',
        '{\n  "text": "Ann",\n  "label": "person"\n}\n{"text":"Ulm","label":"place"}',
        '{"text": "\\u0041nn", "label": "person"}' + ULM,
    ],
)
def test_objects_are_found_however_they_are_put_together(generated: str) -> None:
    assert parse(generated) == ParseResult(BOTH, failure=False, truncated=False, num_malformed=0)


def test_a_line_break_inside_a_string_is_kept() -> None:
    assert parse('{"text": "New\nYork", "label": "place"}').entities == (
        GeneratedEntity("New\nYork", "place"),
    )


def test_repeats_are_kept_in_order() -> None:
    assert [entity.text for entity in parse(ANN + ULM + ANN).entities] == ["Ann", "Ulm", "Ann"]


@pytest.mark.parametrize("end", range(1, len(ULM)))
def test_a_last_object_cut_anywhere_leaves_the_whole_ones(end: int) -> None:
    assert parse(f"{ANN}\n{ULM[:end]}") == ParseResult(
        BOTH[:1], failure=False, truncated=True, num_malformed=0
    )
    assert parse(ULM[:end]) == ParseResult((), failure=True, truncated=True, num_malformed=0)


@pytest.mark.parametrize(
    "generated",
    [
        "{'text': 'Ann', 'label': 'person'}",
        "{text: Ann, label: person}",
        '{"text": "Ann"}',
        '{"text": "", "label": "person"}',
        '{"text": "Ann", "label": 3}',
        '{"text": "Ann", "label": "person",}',
        '{"text": "Ann\\x", "label": "person"}',
        '{"text": ' + "1" * 5000 + ', "label": "person"}',
        '{"text": "\\ud83d", "label": "person"}',
        "{}",
    ],
)
def test_an_object_that_is_no_entity_is_counted_and_passed_over(generated: str) -> None:
    assert parse(generated) == ParseResult((), failure=True, truncated=False, num_malformed=1)
    assert parse(generated + ULM) == ParseResult(BOTH[1:], failure=False, truncated=False, num_malformed=1)


def test_an_object_after_one_that_lacks_a_quote_is_still_read() -> None:
    assert parse('{"text": "Ann, "label": "person"}\n' + ULM).entities == BOTH[1:]


def test_nothing_is_ever_evaluated() -> None:
    assert parse("__import__('os').abort()").failure
    assert parse("{'text': __import__('os').abort(), 'label': 'x'}").failure


@pytest.mark.parametrize(
    "generated",
    ["No entities.", " no entities \n", "```\nNo entities.\n```", "Here you are:\nNo entities!", "[]"],
)
def test_the_agreed_sentence_is_an_answer_without_entities(generated: str) -> None:
    assert parse(generated) == ParseResult((), failure=False, truncated=False, num_malformed=0)


def test_the_agreed_sentence_may_be_in_any_language() -> None:
    assert not parse_entities("没有实体", CHINESE).failure
    assert parse_entities("No entities.", CHINESE).failure


@pytest.mark.parametrize(
    "generated",
    ["", " \n", "Ann is a person.", "There are no entities to be found.", "[", '"No', "No entities.\n{"],
)
def test_anything_else_is_a_failure(generated: str) -> None:
    assert parse(generated).failure


def test_an_empty_text_is_a_failure_even_where_the_agreed_sentence_is_empty() -> None:
    assert parse_entities("", Wording("", "{text}", "", ", ")).failure


labels = st.text(min_size=1, max_size=8)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=12), labels), max_size=5))
@example([('"}{"', "]"), ("{no_entities}", "\\"), ("No entities.", "\n"), ("👩‍👩‍👧在「京」", "\u2028")])
def test_the_taught_answer_is_read_back_whatever_the_text(pieces: list[tuple[str, str]]) -> None:
    text, spans = "", []
    for surface, label in pieces:
        spans.append(Span(len(text), len(text) + len(surface), label))
        text += surface
    result = parse(answer_text(spans, text, ENGLISH))
    expected = tuple(GeneratedEntity(*piece) for piece in pieces)
    assert result == ParseResult(expected, failure=False, truncated=False, num_malformed=0)


@given(st.text() | st.text('{}[]"\\:,tex labn\n', max_size=60))
def test_no_text_raises(generated: str) -> None:
    result = parse(generated)
    assert not (result.failure and result.entities)


@pytest.mark.parametrize(
    "unit", ["[", "{", '"', '{"', '{"a":', '{"{"', '{"\\', '\\{"', '{"text": "a', '{"a" ', "{}"]
)
def test_long_garbage_takes_time_in_proportion(unit: str) -> None:
    garbage = unit * (200_000 // len(unit))
    started = time.process_time()
    assert parse(garbage).failure
    # Quadratic time would be minutes; this takes hundredths of a second.
    assert time.process_time() - started < 5

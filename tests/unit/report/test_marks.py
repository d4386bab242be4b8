"""Marks over a text: verdicts, cutting at their edges, excerpts."""

from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Answer, Span
from rankfold.report.facts import AnswerResult, EntityResult
from rankfold.report.marks import EXCERPT_RADIUS, Mark, excerpts, is_entangled, marks_of, segments

TEXT = "Ada met 王明 👩‍🚀 in القاهرة."


def entity_result(gold: tuple[Span, ...], predicted: tuple[Span, ...]) -> EntityResult:
    return EntityResult("1", TEXT, gold, predicted, (), parse_failure=False, f1=0.5, generated=())


def answer_result(start: int | None, end: int | None, *, exact_match: bool) -> AnswerResult:
    context = "Hven, an island; Hven again"
    prediction = context[start:end] if start is not None else ""
    answers = (Answer("Hven", 0), Answer("Hven", 0), Answer("an island", 6), Answer("", 3))
    return AnswerResult("1", "Where?", context, answers, prediction, start, end, exact_match, 0.5)


marks = st.lists(
    st.tuples(st.integers(0, len(TEXT) - 1), st.integers(1, len(TEXT))).map(
        lambda pair: Mark(pair[0], max(pair[0] + 1, pair[1]), "missed", "person")
    ),
    max_size=6,
)


def test_a_span_is_right_missed_or_wrong_by_position_and_label() -> None:
    result = entity_result(
        gold=(Span(0, 3, "person"), Span(8, 10, "person")),
        predicted=(Span(0, 3, "person"), Span(8, 10, "location")),
    )
    assert marks_of(result) == (
        Mark(0, 3, "right", "person"),
        Mark(8, 10, "missed", "person"),
        Mark(8, 10, "wrong", "location"),
    )


def test_an_answer_that_matches_is_right_wherever_it_was_found() -> None:
    assert marks_of(answer_result(17, 21, exact_match=True)) == (Mark(17, 21, "right", "answer"),)


def test_a_wrong_answer_stands_beside_each_different_gold_answer() -> None:
    assert marks_of(answer_result(9, 15, exact_match=False)) == (
        Mark(0, 4, "missed", "answer"),
        Mark(6, 15, "missed", "answer"),
        Mark(9, 15, "wrong", "answer"),
    )


def test_no_answer_leaves_only_gold_marked() -> None:
    assert [mark.kind for mark in marks_of(answer_result(None, None, exact_match=False))] == ["missed"] * 2


@given(marks)
def test_segments_joined_are_the_text_again(found: list[Mark]) -> None:
    assert "".join(segment.text for segment in segments(TEXT, found)) == TEXT


@given(marks)
def test_every_mark_covers_exactly_its_stretch_and_ends_once(found: list[Mark]) -> None:
    pieces = segments(TEXT, found)
    for mark in set(found):
        covered = "".join(piece.text for piece in pieces if mark in piece.covering)
        assert covered == TEXT[mark.start : mark.end]
        assert sum(mark in piece.ending for piece in pieces) == 1


@given(marks, st.integers(0, 10), st.integers(10, len(TEXT)))
def test_a_stretch_of_the_text_is_cut_like_the_whole(found: list[Mark], start: int, end: int) -> None:
    pieces = segments(TEXT, found, start=start, end=end)
    assert "".join(piece.text for piece in pieces) == TEXT[start:end]
    assert all(mark.start < end and mark.end > start for piece in pieces for mark in piece.covering)


def test_a_mark_beyond_the_text_ends_with_it() -> None:
    (before, marked) = segments("Ada", [Mark(1, 9, "wrong", "person")])
    assert (before.text, marked.text, len(marked.ending)) == ("A", "da", 1)


def test_positions_are_code_points_even_after_an_emoji() -> None:
    start = TEXT.index("in")
    pieces = segments(TEXT, [Mark(start, start + 2, "right", "x")])
    assert [piece.text for piece in pieces if piece.covering] == ["in"]


def test_marks_of_the_same_stretch_are_not_entangled_but_crossing_ones_are() -> None:
    here, there, same = Mark(0, 3, "right", "a"), Mark(2, 5, "wrong", "b"), Mark(0, 3, "wrong", "c")
    assert not is_entangled(here, [here, same])
    assert is_entangled(here, [here, there])
    assert not is_entangled(here, [here, Mark(3, 5, "wrong", "b")])


def test_excerpts_keep_what_is_around_each_mark_and_merge_neighbours() -> None:
    text = "word " * 400
    near, beside, far = (Mark(at, at + 4, "missed", "answer") for at in (500, 560, 1_500))
    (first, second) = excerpts(text, [near, beside, far])
    assert first[0] <= 500 - EXCERPT_RADIUS + 5
    assert first[1] >= 564 + EXCERPT_RADIUS - 5
    assert second[0] > first[1]
    assert all(text[start - 1] == " " and text[end] == " " for start, end in (first, second))


def test_an_excerpt_of_a_text_without_spaces_is_cut_anyway() -> None:
    text = "海" * 1_000
    assert excerpts(text, [Mark(500, 510, "wrong", "answer")]) == ((360, 650),)


def test_a_text_without_marks_shows_its_beginning() -> None:
    assert excerpts("short", []) == ((0, 5),)
    assert excerpts("x" * 1_000, []) == ((0, 2 * EXCERPT_RADIUS),)

"""Which stretches of a text are right, missed or wrong, and how to cut the text to show them.

Positions count Unicode code points, as everywhere in rankfold: `text[start:end]` is the stretch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rankfold.report.facts import AnswerResult, EntityResult, ExampleResult

EXCERPT_RADIUS = 140
"""Characters of context kept on each side of an answer: two or three lines of a page."""


@dataclass(frozen=True)
class Mark:
    """A stretch of text with a verdict: in gold and predicted, only in gold, or only predicted."""

    start: int
    end: int
    kind: Literal["right", "missed", "wrong"]
    label: str


@dataclass(frozen=True)
class Segment:
    """A piece of text that no mark begins or ends within.

    `covering` are the marks over it, the longest first; `ending` are those among them that end with it.
    """

    text: str
    covering: tuple[Mark, ...]
    ending: tuple[Mark, ...]


def marks_of(result: ExampleResult) -> tuple[Mark, ...]:
    """The marks of an example, ordered by position."""
    if isinstance(result, EntityResult):
        return _ordered(_entity_marks(result))
    return _ordered(_answer_marks(result)) if isinstance(result, AnswerResult) else ()


def _entity_marks(result: EntityResult) -> set[Mark]:
    gold, predicted = set(result.gold), set(result.predicted)
    return (
        {Mark(span.start, span.end, "right", span.label) for span in gold & predicted}
        | {Mark(span.start, span.end, "missed", span.label) for span in gold - predicted}
        | {Mark(span.start, span.end, "wrong", span.label) for span in predicted - gold}
    )


def _answer_marks(result: AnswerResult) -> set[Mark]:
    """An answer is judged by its text: once it matches, it is right wherever the text was found."""
    predicted = None
    if result.start is not None and result.end is not None:
        predicted = Mark(result.start, result.end, "right" if result.exact_match else "wrong", "answer")
    missed = {
        Mark(answer.answer_start, answer.answer_start + len(answer.text), "missed", "answer")
        for answer in result.answers
        if answer.text and not result.exact_match
    }
    return missed | ({predicted} if predicted else set())


def _ordered(marks: set[Mark]) -> tuple[Mark, ...]:
    return tuple(sorted(marks, key=lambda mark: (mark.start, -mark.end, mark.kind, mark.label)))


def segments(
    text: str, marks: Sequence[Mark], *, start: int = 0, end: int | None = None
) -> tuple[Segment, ...]:
    """Cut `text[start:end]` wherever a mark begins or ends; the pieces joined are the text again.

    Marks may overlap and cross in any way. One that reaches beyond the stretch ends with it.
    """
    end = len(text) if end is None else end
    inside = [mark for mark in marks if max(mark.start, start) < min(mark.end, end)]
    edges = {min(max(edge, start), end) for mark in inside for edge in (mark.start, mark.end)}
    cuts = sorted(edges | {start, end})
    return tuple(
        Segment(
            text=text[left:right],
            covering=tuple(mark for mark in inside if mark.start <= left and right <= mark.end),
            ending=tuple(mark for mark in inside if mark.start < right and min(mark.end, end) == right),
        )
        for left, right in pairwise(cuts)
    )


def is_entangled(mark: Mark, marks: Sequence[Mark]) -> bool:
    """Whether another mark covers part of this one, so that a reader cannot see where this one begins."""
    return any(
        (other.start, other.end) != (mark.start, mark.end)
        and max(other.start, mark.start) < min(other.end, mark.end)
        for other in marks
    )


def excerpts(text: str, marks: Sequence[Mark]) -> tuple[tuple[int, int], ...]:
    """The stretches of a long text worth showing: around every mark, or its beginning without marks."""
    wanted = sorted(_around(mark, text) for mark in marks)
    merged: list[tuple[int, int]] = []
    for start, end in wanted or [(0, min(len(text), 2 * EXCERPT_RADIUS))]:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _around(mark: Mark, text: str) -> tuple[int, int]:
    """The mark with EXCERPT_RADIUS on each side, less a torn word where the text has spaces."""
    start, end = max(0, mark.start - EXCERPT_RADIUS), min(len(text), mark.end + EXCERPT_RADIUS)
    if start > 0:
        start = max(start, text.find(" ", start, mark.start) + 1)
    if end < len(text):
        space = text.rfind(" ", mark.end, end)
        end = end if space < 0 else space
    return start, end

"""Lenient matching: same label, one character in common, as many pairs as possible."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Span
from rankfold.metrics.counts import Counts
from rankfold.metrics.entities import count_entities
from rankfold.metrics.lenient import count_lenient, num_overlapping_pairs


@st.composite
def spans(draw: st.DrawFn, label: st.SearchStrategy[str]) -> list[Span]:
    starts = draw(st.lists(st.integers(0, 9), max_size=5))
    return [Span(start, start + draw(st.integers(1, 5)), draw(label)) for start in starts]


ONE_LABEL = spans(st.just("PER"))
TWO_LABELS = spans(st.sampled_from(["PER", "LOC"]))


def best_by_trying_all(first: list[Span], second: list[Span]) -> int:
    shorter, longer = sorted([first, second], key=len)
    return max(
        sum(
            bool(set(range(a.start, a.end)) & set(range(b.start, b.end)))
            for a, b in zip(shorter, chosen, strict=True)
        )
        for chosen in permutations(longer, len(shorter))
    )


@given(ONE_LABEL, ONE_LABEL)
def test_there_are_as_many_pairs_as_trying_all_of_them_finds(first: list[Span], second: list[Span]) -> None:
    assert num_overlapping_pairs(first, second) == best_by_trying_all(first, second)


def test_pairs_are_found_that_taking_the_leftmost_would_miss() -> None:
    # The first long span overlaps both; were it given the second, the last would have nothing left.
    long, short = Span(0, 9, "PER"), Span(6, 8, "PER")
    assert num_overlapping_pairs([long, short], [Span(7, 9, "PER"), Span(1, 3, "PER")]) == 2


@pytest.mark.parametrize(
    ("predicted", "num_correct"),
    [
        (Span(4, 9, "PER"), 1),
        (Span(0, 1, "PER"), 1),
        (Span(5, 9, "PER"), 0),
        (Span(0, 5, "LOC"), 0),
    ],
    ids=["last character", "first character", "next character", "other label"],
)
def test_one_character_of_the_same_label_is_enough(predicted: Span, num_correct: int) -> None:
    assert count_lenient([Span(0, 5, "PER")], [predicted]).total == Counts(1, 1, num_correct)


def test_one_gold_entity_makes_one_prediction_right_however_many_overlap_it() -> None:
    halves = [Span(0, 2, "PER"), Span(2, 5, "PER")]
    assert count_lenient([Span(0, 5, "PER")], halves).total == Counts(1, 2, 1)
    assert count_lenient(halves, [Span(0, 5, "PER")]).total == Counts(2, 1, 1)


def test_an_empty_span_overlaps_nothing() -> None:
    assert num_overlapping_pairs([Span(2, 2, "PER")], [Span(0, 5, "PER")]) == 0


def test_an_invented_entity_is_a_false_positive_and_a_repeated_span_counts_once() -> None:
    paris = Span(0, 5, "LOC")
    assert count_lenient([paris], [paris, paris], invented_labels=["LOC"]).total == Counts(1, 2, 1)


@given(TWO_LABELS, TWO_LABELS)
def test_matching_leniently_never_finds_fewer_than_strictly(gold: list[Span], predicted: list[Span]) -> None:
    lenient, strict = count_lenient(gold, predicted), count_entities(gold, predicted).spans
    assert (lenient.gold, lenient.predicted) == (strict.gold, strict.predicted)
    assert all(lenient.correct[label] >= strict.correct[label] for label in strict.gold)


@given(TWO_LABELS, TWO_LABELS)
def test_swapping_gold_and_predicted_swaps_precision_and_recall(
    first: list[Span], second: list[Span]
) -> None:
    there, back = count_lenient(first, second).total, count_lenient(second, first).total
    assert there.num_correct == back.num_correct
    assert there.num_gold == back.num_predicted


@given(st.permutations([Span(0, 3, "A"), Span(2, 6, "A"), Span(5, 7, "A")]))
def test_the_order_of_spans_does_not_matter(gold: list[Span]) -> None:
    predicted = [Span(2, 3, "A"), Span(6, 9, "A")]
    assert count_lenient(gold, predicted) == count_lenient(sorted(gold), predicted)

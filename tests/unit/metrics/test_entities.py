"""Entity scores: strict in position and label, exact under any sharding."""

from functools import reduce
from operator import add
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Span
from rankfold.metrics.counts import Counts
from rankfold.metrics.entities import (
    EntityCounts,
    count_entities,
    entity_metrics,
    example_f1,
)

SPANS = st.lists(
    st.builds(Span, st.integers(0, 3), st.integers(4, 6), st.sampled_from(["PER", "LOC"])), max_size=5
)
ROWS = st.lists(
    st.tuples(SPANS, SPANS, st.lists(st.sampled_from(["PER", "MADE_UP"]), max_size=2), st.booleans()),
    max_size=8,
)
Row = tuple[list[Span], list[Span], list[str], bool]

PARIS = Span(0, 5, "LOC")
MARIE = Span(9, 14, "PER")


def count(row: Row) -> EntityCounts:
    gold, predicted, invented_labels, parse_failure = row
    return count_entities(gold, predicted, invented_labels=invented_labels, parse_failure=parse_failure)


@pytest.mark.parametrize(
    "wrong",
    [Span(1, 5, "LOC"), Span(0, 6, "LOC"), Span(0, 5, "PER")],
    ids=["start", "end", "label"],
)
def test_an_entity_with_another_start_end_or_label_is_wrong(wrong: Span) -> None:
    total = count_entities([PARIS], [wrong]).spans.total
    assert total == Counts(num_gold=1, num_predicted=1, num_correct=0)


def test_a_span_predicted_twice_counts_once() -> None:
    total = count_entities([PARIS, MARIE], [PARIS, PARIS]).spans.total
    assert total == Counts(num_gold=2, num_predicted=1, num_correct=1)


def test_a_span_predicted_with_two_labels_counts_twice() -> None:
    total = count_entities([PARIS], [PARIS, Span(0, 5, "PER")]).spans.total
    assert total == Counts(num_gold=1, num_predicted=2, num_correct=1)


def test_an_invented_entity_is_a_false_positive_of_its_label_each_time() -> None:
    counts = count_entities([PARIS], [PARIS], invented_labels=["PER", "PER"])
    assert counts.num_invented == 2
    assert counts.spans["PER"] == Counts(num_predicted=2)
    assert counts.spans["LOC"].scores.precision == 1.0
    assert counts.spans.total.scores.precision == pytest.approx(1 / 3)


def test_metrics_by_hand() -> None:
    counts = count_entities([PARIS, MARIE], [PARIS], invented_labels=["PER"]) + count_entities(
        [PARIS], [Span(0, 4, "LOC")], parse_failure=True
    )
    assert entity_metrics(counts, labels=("PER", "ORG")) == {
        "entity_f1": 2 / 6,
        "entity_precision": 1 / 3,
        "entity_recall": 1 / 3,
        "entity_macro_precision": 0.25,
        "entity_macro_recall": 0.25,
        "entity_macro_f1": 0.25,
        "num_examples": 2,
        "num_gold": 3,
        "num_predicted": 3,
        "num_correct": 1,
        "per_label": {
            "PER": {
                "precision": 0.0,
                "recall": 0.0,
                "f1": 0.0,
                "num_gold": 1,
                "num_predicted": 1,
                "num_correct": 0,
            },
            "ORG": {
                "precision": 0.0,
                "recall": 0.0,
                "f1": 0.0,
                "num_gold": 0,
                "num_predicted": 0,
                "num_correct": 0,
            },
            "LOC": {
                "precision": 0.5,
                "recall": 0.5,
                "f1": 0.5,
                "num_gold": 2,
                "num_predicted": 2,
                "num_correct": 1,
            },
        },
        "parse_failure_rate": 0.5,
        "unaligned_rate": 1 / 3,
        "entity_f1_aligned_only": 2 / 5,
    }


def test_labels_come_in_the_order_asked_for_then_sorted() -> None:
    counts = count_entities([Span(0, 1, label) for label in "DBCA"], [])
    metrics = entity_metrics(counts, labels=("C", "E", "C"))
    assert list(metrics["per_label"]) == ["C", "E", "A", "B", "D"]


def test_no_examples_score_zero() -> None:
    metrics = entity_metrics(EntityCounts())
    assert metrics.pop("per_label") == {}
    assert set(metrics.values()) == {0}


def test_an_example_with_nothing_to_find_is_right_only_if_nothing_is_predicted() -> None:
    assert example_f1(count_entities([], [])) == 1.0
    assert example_f1(count_entities([], [PARIS])) == 0.0
    assert example_f1(count_entities([], [], invented_labels=["PER"])) == 0.0
    assert example_f1(count_entities([PARIS, MARIE], [PARIS])) == 2 / 3


@given(ROWS, ROWS, ROWS)
def test_adding_counts_is_associative_and_commutative(
    first: list[Row], second: list[Row], third: list[Row]
) -> None:
    a, b, c = (sum(map(count, rows), EntityCounts()) for rows in (first, second, third))
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + EntityCounts() == a


@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_sharding_in_any_order_gives_the_metrics_of_the_whole(
    rows: list[Row], generator: Random, num_shards: int
) -> None:
    whole = entity_metrics(sum(map(count, rows), EntityCounts()))
    shuffled = list(rows)
    generator.shuffle(shuffled)
    shards = [sum(map(count, shuffled[rank::num_shards]), EntityCounts()) for rank in range(num_shards)]
    merged = entity_metrics(reduce(add, shards))
    assert merged == whole
    assert list(merged["per_label"]) == list(whole["per_label"])


@given(ROWS)
def test_counts_equal_a_pooled_set_of_example_and_span(rows: list[Row]) -> None:
    gold = {(index, span) for index, row in enumerate(rows) for span in row[0]}
    predicted = {(index, span) for index, row in enumerate(rows) for span in row[1]}
    num_invented = sum(len(row[2]) for row in rows)
    counts = sum(map(count, rows), EntityCounts())
    assert counts.spans.total == Counts(len(gold), len(predicted) + num_invented, len(gold & predicted))
    assert counts.num_invented == num_invented


@given(SPANS, SPANS)
def test_f1_is_symmetric_bounded_and_the_harmonic_mean(first: list[Span], second: list[Span]) -> None:
    there, back = (count_entities(*sides).spans.total.scores for sides in ((first, second), (second, first)))
    assert there.f1 == back.f1
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert 0.0 <= there.f1 <= 1.0
    if there.f1:
        harmonic = 2 / (1 / there.precision + 1 / there.recall)
        assert there.f1 == pytest.approx(harmonic, rel=1e-14)


@given(ROWS)
def test_leaving_out_invented_entities_never_lowers_f1(rows: list[Row]) -> None:
    metrics = entity_metrics(sum(map(count, rows), EntityCounts()))
    aligned_rows: list[Row] = [(gold, predicted, [], failed) for gold, predicted, _, failed in rows]
    aligned = entity_metrics(sum(map(count, aligned_rows), EntityCounts()))
    assert metrics["entity_f1_aligned_only"] == aligned["entity_f1"]
    assert aligned["entity_f1"] >= metrics["entity_f1"]

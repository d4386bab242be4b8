"""Counts per label and their averages."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.metrics.counts import (
    Counts,
    LabelCounts,
    Scores,
    label_metrics,
    macro_average,
    weighted_average,
)

NOTHING = Scores(0.0, 0.0, 0.0)
LABELS = st.lists(st.sampled_from("ABCD"), max_size=9)


def counts(gold: str, predicted: str, correct: str) -> LabelCounts:
    return LabelCounts(Counter(gold), Counter(predicted), Counter(correct))


@st.composite
def label_counts(draw: st.DrawFn) -> LabelCounts:
    gold, predicted = Counter(draw(LABELS)), Counter(draw(LABELS))
    return LabelCounts(gold, predicted, gold & predicted)


def test_scores_by_hand() -> None:
    assert Counts(num_gold=4, num_predicted=2, num_correct=1).scores == Scores(0.5, 0.25, 1 / 3)


def test_a_ratio_without_a_denominator_is_zero() -> None:
    assert Counts().scores == NOTHING
    assert macro_average(LabelCounts()) == weighted_average(LabelCounts()) == NOTHING


def test_the_macro_average_counts_each_label_alike_and_the_weighted_one_by_its_gold_entities() -> None:
    three_of_a_one_of_b = counts("AAAB", "AAA", "AAA")
    assert macro_average(three_of_a_one_of_b) == Scores(0.5, 0.5, 0.5)
    assert weighted_average(three_of_a_one_of_b) == Scores(0.75, 0.75, 0.75)


def test_the_macro_f1_is_the_mean_of_f1_not_the_f1_of_means() -> None:
    assert macro_average(counts("AB", "ABBB", "AB")).f1 == (1.0 + 0.5) / 2


def test_a_label_that_occurs_nowhere_is_not_averaged_over() -> None:
    assert macro_average(counts("A", "A", "A"), labels=["A", "B"]).f1 == 1.0


def test_a_label_that_a_model_made_up_is_not_averaged_over_but_one_of_the_data_set_is() -> None:
    made_up = counts("A", "AX", "A")
    assert macro_average(made_up, labels=["A", "B"]).f1 == 1.0
    assert macro_average(counts("A", "AB", "A"), labels=["A", "B"]).f1 == 0.5
    assert made_up.total.scores.precision == 0.5


def test_without_a_list_of_labels_every_label_that_occurs_is_averaged_over() -> None:
    assert macro_average(counts("A", "AX", "A")).f1 == 0.5


def test_a_gold_label_missing_from_the_list_is_averaged_over_all_the_same() -> None:
    assert macro_average(counts("AB", "A", "A"), labels=["A"]).f1 == 0.5


def test_labels_come_in_the_order_asked_for_without_repeats_then_sorted() -> None:
    assert counts("DB", "CA", "").labels(["C", "E", "C"]) == ["C", "E", "A", "B", "D"]


def test_each_label_has_its_scores_and_counts() -> None:
    assert label_metrics(counts("A", "AA", "A"), ["A"]) == {
        "A": {
            "precision": 0.5,
            "recall": 1.0,
            "f1": 2 / 3,
            "num_gold": 1,
            "num_predicted": 2,
            "num_correct": 1,
        }
    }


@given(label_counts(), label_counts(), label_counts())
def test_adding_is_associative_and_commutative(a: LabelCounts, b: LabelCounts, c: LabelCounts) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + LabelCounts() == a
    assert (a + b)["A"].num_gold == a["A"].num_gold + b["A"].num_gold


@given(label_counts())
def test_averages_lie_between_the_labels_they_are_taken_over(some: LabelCounts) -> None:
    each = [some[label].scores.f1 for label in some.labels()] or [0.0]
    for average in (macro_average(some), weighted_average(some)):
        assert min(each) - 1e-15 <= average.f1 <= max(each) + 1e-15


@given(label_counts())
def test_the_weighted_recall_is_the_micro_recall(some: LabelCounts) -> None:
    assert weighted_average(some).recall == pytest.approx(some.total.scores.recall, abs=1e-15)


@given(label_counts(), st.permutations("ABCD"))
def test_averages_do_not_depend_on_the_order_of_labels(some: LabelCounts, labels: list[str]) -> None:
    assert macro_average(some, labels) == macro_average(some)

"""Classification, against scikit-learn."""

import math
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from rankfold.metrics.classification import (
    Confusion,
    MultiLabelCounts,
    classification_metrics,
    count_confusion,
    count_multi_label,
    matthews_correlation,
    multi_label_metrics,
)

LABELS = ("ham", "spam", "eggs")
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=30)
SETS = st.lists(st.sampled_from(LABELS), max_size=4)
SET_PAIRS = st.lists(st.tuples(SETS, SETS), min_size=1, max_size=12)


def confusion_of(pairs: list[tuple[str, str]]) -> Confusion:
    return count_confusion([gold for gold, _ in pairs], [predicted for _, predicted in pairs])


def multi_label_of(pairs: list[tuple[list[str], list[str]]]) -> MultiLabelCounts:
    return sum((count_multi_label(*pair) for pair in pairs), MultiLabelCounts())


def assert_scikit_learns(metrics: dict[str, Any], gold: Any, predicted: Any, **options: Any) -> None:
    names = ("precision", "recall", "f1")
    for average in ("micro", "macro", "weighted"):
        expected = sklearn_metrics.precision_recall_fscore_support(
            gold, predicted, average=average, zero_division=0, **options
        )
        assert [metrics[f"{average}_{name}"] for name in names] == pytest.approx(expected[:3], abs=1e-12)


@given(PAIRS)
def test_one_label_an_example_scores_as_in_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    metrics = classification_metrics(confusion_of(pairs))
    assert_scikit_learns(metrics, gold, predicted)
    assert metrics["accuracy"] == sklearn_metrics.accuracy_score(gold, predicted)
    each = sklearn_metrics.precision_recall_fscore_support(
        gold, predicted, labels=list(metrics["per_label"]), zero_division=0
    )
    for place, figures in enumerate(metrics["per_label"].values()):
        ours = [figures[name] for name in ("precision", "recall", "f1", "num_gold")]
        assert ours == pytest.approx([column[place] for column in each], abs=1e-12)


@given(PAIRS)
def test_matthews_correlation_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    with warnings.catch_warnings(action="ignore"):  # it warns of a single label
        expected = sklearn_metrics.matthews_corrcoef(*zip(*pairs, strict=True))
    assert matthews_correlation(confusion_of(pairs)) == pytest.approx(expected, abs=1e-12)


def test_matthews_correlation_of_a_guess_is_0_and_of_the_truth_1() -> None:
    assert matthews_correlation(count_confusion("ABAB", "AABB")) == 0.0
    assert matthews_correlation(count_confusion("ABCA", "ABCA")) == 1.0
    assert matthews_correlation(count_confusion("ABAB", "BABA")) == -1.0
    assert matthews_correlation(count_confusion("ABAB", "AAAA")) == 0.0


def test_matthews_correlation_of_counts_beyond_64_bits_is_exact() -> None:
    few, many = count_confusion("AAABB", "AABBA"), Confusion()
    for pair, number in few.pairs.items():
        many.pairs[pair] = number * 10**12
    assert math.isclose(matthews_correlation(many), matthews_correlation(few), rel_tol=1e-15)


@given(SET_PAIRS)
def test_any_number_of_labels_scores_as_in_scikit_learn(pairs: list[tuple[list[str], list[str]]]) -> None:
    gold, predicted = ([[label in pair[side] for label in LABELS] for pair in pairs] for side in (0, 1))
    metrics = multi_label_metrics(multi_label_of(pairs))
    occurring = [place for place, label in enumerate(LABELS) if label in metrics["per_label"]]
    if occurring:  # scikit-learn refuses to average over no label
        assert_scikit_learns(metrics, gold, predicted, labels=occurring)
    assert metrics["subset_accuracy"] == sklearn_metrics.accuracy_score(gold, predicted)


def test_accuracy_with_any_number_of_labels_wants_exactly_the_gold_ones() -> None:
    pairs = [(["ham", "spam"], ["spam", "ham"]), (["ham"], ["ham", "spam"]), ([], [])]
    assert multi_label_metrics(multi_label_of(pairs))["subset_accuracy"] == 2 / 3


def test_a_label_given_twice_counts_once() -> None:
    assert count_multi_label(["ham", "ham"], ["ham"]) == count_multi_label(["ham"], ["ham", "ham"])


def test_sides_of_different_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="longer"):
        count_confusion(["ham"], ["ham", "spam"])


@pytest.mark.parametrize(
    "metrics",
    [classification_metrics(Confusion(), LABELS), multi_label_metrics(MultiLabelCounts(), LABELS)],
)
def test_without_examples_nothing_is_measured(metrics: dict[str, Any]) -> None:
    assert (metrics.pop("num_examples"), metrics.pop("per_label")) == (0, {})
    assert {"micro_f1", "macro_f1"} < metrics.keys()
    assert set(metrics.values()) == {None}


@given(PAIRS, PAIRS)
def test_confusions_of_shards_add_up_to_the_whole(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    whole = confusion_of(first + second)
    assert confusion_of(first) + confusion_of(second) == confusion_of(second) + confusion_of(first) == whole
    assert classification_metrics(confusion_of(second) + confusion_of(first)) == classification_metrics(whole)


@given(SET_PAIRS, SET_PAIRS)
def test_multi_label_counts_of_shards_add_up_to_the_whole(
    first: list[tuple[list[str], list[str]]], second: list[tuple[list[str], list[str]]]
) -> None:
    assert multi_label_of(second) + multi_label_of(first) == multi_label_of(first + second)

"""Scores of classification and of multiple choice from the lines of details.jsonl."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.metrics.bootstrap import bootstrap_interval, percentile_interval, resampled_times
from rankfold.metrics.classification import (
    classification_metrics,
    classification_metrics_of,
    count_confusion,
    count_multi_label,
    multi_label_metrics,
)
from rankfold.metrics.multiple_choice import choice_metrics_of

LABELS = ("ham", "spam", "eggs")
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=30)
SETS = st.lists(st.sampled_from(LABELS), max_size=3, unique=True)
SET_PAIRS = st.lists(st.tuples(SETS, SETS), min_size=1, max_size=12)


def row(gold: list[str], predicted: list[str]) -> dict[str, Any]:
    return {"gold_labels": gold, "predicted_labels": predicted}


def scores(rows: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"multi_label": False, "resamples": 0, "seed": 1} | changed
    return classification_metrics_of(rows, options.pop("labels", LABELS), **options)


@given(PAIRS)
def test_rows_with_one_label_score_as_their_confusion_does(pairs: list[tuple[str, str]]) -> None:
    metrics = scores([row([gold], [predicted]) for gold, predicted in pairs])
    expected = classification_metrics(count_confusion(*zip(*pairs, strict=True)), LABELS)
    assert metrics.items() >= expected.items()
    golds = [gold for gold, _ in pairs]
    assert metrics["chance_accuracy"] == max(map(golds.count, LABELS)) / len(pairs)


@given(SET_PAIRS.filter(lambda pairs: any(gold for gold, _ in pairs)))
def test_rows_with_any_labels_score_as_their_counts_do(pairs: list[tuple[list[str], list[str]]]) -> None:
    metrics = scores([row(*pair) for pair in pairs], multi_label=True)
    total, *others = (count_multi_label(*pair) for pair in pairs)
    for one in others:
        total += one
    assert metrics.items() >= multi_label_metrics(total, LABELS).items()


def test_a_row_without_a_gold_label_is_not_scored_where_every_row_has_one() -> None:
    rows = [row([], ["ham"]), row(["spam"], ["spam"])]
    assert (scores(rows)["num_examples"], scores(rows)["accuracy"]) == (1, 1.0)
    assert scores(rows, multi_label=True)["num_examples"] == 2


def test_gold_labels_that_the_model_does_not_know_are_told_as_a_rate() -> None:
    rows = [row(["ham"], ["ham"]), row(["rice"], ["ham"]), row(["spam"], ["spam"])]
    assert scores(rows)["unknown_label_rate"] == 1 / 3
    assert "unknown_label_rate" not in scores(rows, labels=(*LABELS, "rice"))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("rows", [[], [row([], ["ham"]), row([], [])]])
def test_where_no_row_has_a_label_nothing_is_measured(rows: list[dict[str, Any]], several: bool) -> None:
    metrics = scores(rows, multi_label=several, resamples=10)
    assert (metrics.pop("num_examples"), metrics.pop("per_label")) == (0, {})
    measured_elsewhere = scores([row(["ham"], ["ham"])], multi_label=several)
    assert metrics == dict.fromkeys(measured_elsewhere.keys() - {"num_examples", "per_label"})


def test_with_any_number_of_labels_one_row_that_has_some_is_enough_to_score_all() -> None:
    metrics = scores([row([], ["ham"]), row(["ham"], ["ham"])], multi_label=True)
    assert (metrics["num_examples"], metrics["subset_accuracy"], metrics["micro_precision"]) == (2, 0.5, 0.5)


def test_where_no_question_has_an_answer_nothing_is_measured() -> None:
    unanswered = {"answer": None, "choice": 0, "num_choices": 4}
    for rows in ([], [unanswered]):
        metrics = choice_metrics_of(rows, resamples=10, seed=1)
        assert metrics == {"accuracy": None, "chance_accuracy": None, "num_examples": 0}


@pytest.mark.parametrize("several", [False, True])
def test_intervals_are_those_of_resamples_that_are_scored_as_data_sets(several: bool) -> None:
    draw = random.Random(3)
    rows = []
    for _ in range(40):
        gold = draw.sample(LABELS, draw.randint(0, 2) if several else 1)
        rows.append(row(gold, gold if draw.random() < 0.6 else [draw.choice([*LABELS, "made up"])]))
    found = scores(rows, multi_label=several, resamples=50, seed=7)["confidence_intervals"]
    again: list[dict[str, Any]] = []
    for times in resampled_times(len(rows), resamples=50, seed=7):
        drawn = [one for one, number in zip(rows, times.tolist(), strict=True) for _ in range(number)]
        again.append(scores(drawn, multi_label=several))
    assert len(found) == 3
    for name, interval in found.items():
        expected = percentile_interval(np.array([one[name] for one in again]), np.ones(50))
        assert interval == pytest.approx(expected, abs=1e-12)


def test_choices_are_scored_beside_choosing_blindly() -> None:
    rows: list[dict[str, Any]] = [
        {"answer": 1, "choice": 1, "num_choices": 2},
        {"answer": 3, "choice": 0, "num_choices": 4},
        {"answer": None, "choice": 0, "num_choices": 9},
    ]
    metrics = choice_metrics_of(rows, resamples=100, seed=5)
    expected = bootstrap_interval([1, 0], [1, 1], resamples=100, seed=5)
    assert metrics == {
        "accuracy": 0.5,
        "chance_accuracy": (1 / 2 + 1 / 4) / 2,
        "num_examples": 2,
        "confidence_intervals": {"accuracy": list(expected)},
    }

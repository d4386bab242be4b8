"""Scores of classification, with one label an example or with any number of them.

Everything comes from integer counts that add up: of pairs of gold and predicted label, or per label.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankfold.metrics.counts import (
    LabelCounts,
    label_metrics,
    macro_average,
    ratio,
    weighted_average,
)


@dataclass(frozen=True)
class Confusion:
    """How often which label was predicted for which, to be added in any order; `Confusion()` is zero.

    Args:
        pairs: (gold label, predicted label) → examples.
    """

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(self.pairs + other.pairs)

    @property
    def label_counts(self) -> LabelCounts:
        counts = LabelCounts()
        for (gold, predicted), number in self.pairs.items():
            counts.gold[gold] += number
            counts.predicted[predicted] += number
            if gold == predicted:
                counts.correct[gold] += number
        return counts


@dataclass(frozen=True)
class MultiLabelCounts:
    """Counts of examples with any number of labels; `MultiLabelCounts()` is zero."""

    num_examples: int = 0
    num_exact: int = 0
    labels: LabelCounts = field(default_factory=LabelCounts)

    def __add__(self, other: "MultiLabelCounts") -> "MultiLabelCounts":
        return MultiLabelCounts(
            self.num_examples + other.num_examples,
            self.num_exact + other.num_exact,
            self.labels + other.labels,
        )


def count_confusion(gold: Iterable[str], predicted: Iterable[str]) -> Confusion:
    """Count examples with one gold and one predicted label each.

    Raises:
        ValueError: The two have different lengths.
    """
    return Confusion(Counter(zip(gold, predicted, strict=True)))


def count_multi_label(gold: Iterable[str], predicted: Iterable[str]) -> MultiLabelCounts:
    """Count one example; a label given twice counts once, on either side."""
    gold_labels, predicted_labels = frozenset(gold), frozenset(predicted)
    return MultiLabelCounts(
        num_examples=1,
        num_exact=int(gold_labels == predicted_labels),
        labels=LabelCounts(
            Counter(gold_labels), Counter(predicted_labels), Counter(gold_labels & predicted_labels)
        ),
    )


def classification_metrics(confusion: Confusion, labels: Sequence[str] = ()) -> dict[str, Any]:
    """Return accuracy, Matthews' correlation, and precision, recall and F1 in micro, macro and weighted.

    Args:
        confusion: The sum of the counts of every example.
        labels: Labels of the data set: listed first, even where they never occur. `macro_average` says
            over which labels the macro average is taken.

    A ratio without a denominator is 0.0.
    """
    counts = confusion.label_counts
    num_examples = confusion.pairs.total()
    return {
        "accuracy": ratio(counts.correct.total(), num_examples),
        "matthews_correlation": matthews_correlation(confusion),
        **_averages(counts, labels),
        "num_examples": num_examples,
        "per_label": label_metrics(counts, labels),
    }


def multi_label_metrics(counts: MultiLabelCounts, labels: Sequence[str] = ()) -> dict[str, Any]:
    """Return the share of examples with exactly the gold labels, and what `classification_metrics` has.

    There is no Matthews' correlation: it compares one label with one label.
    """
    return {
        "accuracy": ratio(counts.num_exact, counts.num_examples),
        **_averages(counts.labels, labels),
        "num_examples": counts.num_examples,
        "per_label": label_metrics(counts.labels, labels),
    }


def matthews_correlation(confusion: Confusion) -> float:
    """Return Matthews' correlation coefficient (-1..1) for any number of labels; 0.0 where undefined.

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    counts, total = confusion.label_counts, confusion.pairs.total()
    covariance = total * counts.correct.total() - _dot(counts.gold, counts.predicted)
    gold_variance = total**2 - _dot(counts.gold, counts.gold)
    predicted_variance = total**2 - _dot(counts.predicted, counts.predicted)
    return ratio(covariance, math.sqrt(gold_variance * predicted_variance))


def _averages(counts: LabelCounts, labels: Sequence[str]) -> dict[str, float]:
    return {
        **counts.total.scores.named("micro_"),
        **macro_average(counts, labels).named("macro_"),
        **weighted_average(counts).named("weighted_"),
    }


def _dot(first: Counter[str], second: Counter[str]) -> int:
    return sum(number * second[label] for label, number in first.items())

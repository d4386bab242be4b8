"""Scores of classification, with one label an example or with any number of them.

Everything comes from integer counts that add up: of pairs of gold and predicted label, or per label.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankfold.metrics.bootstrap import percentile_interval, resampled_times
from rankfold.metrics.counts import (
    LabelCounts,
    label_metrics,
    macro_average,
    mean,
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

    A ratio without a denominator is 0.0. Without any example nothing is measured: every score is None then,
    and no label is listed.
    """
    counts = confusion.label_counts
    num_examples = confusion.pairs.total()
    scores = {
        "accuracy": ratio(counts.correct.total(), num_examples),
        "matthews_correlation": matthews_correlation(confusion),
        **_averages(counts, labels),
    }
    return _of_examples(scores, num_examples, label_metrics(counts, labels))


def multi_label_metrics(counts: MultiLabelCounts, labels: Sequence[str] = ()) -> dict[str, Any]:
    """Return the share of examples with exactly the gold labels, and the averages and labels' scores.

    There is no Matthews' correlation: it compares one label with one label. Without examples as
    `classification_metrics`.
    """
    scores = {
        "subset_accuracy": ratio(counts.num_exact, counts.num_examples),
        **_averages(counts.labels, labels),
    }
    return _of_examples(scores, counts.num_examples, label_metrics(counts.labels, labels))


def matthews_correlation(confusion: Confusion) -> float:
    """Return Matthews' correlation coefficient (-1..1) for any number of labels; 0.0 where undefined.

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    counts, total = confusion.label_counts, confusion.pairs.total()
    covariance = total * counts.correct.total() - _dot(counts.gold, counts.predicted)
    gold_variance = total**2 - _dot(counts.gold, counts.gold)
    predicted_variance = total**2 - _dot(counts.predicted, counts.predicted)
    return ratio(covariance, math.sqrt(gold_variance * predicted_variance))


def classification_metrics_of(
    rows: Iterable[Mapping[str, Any]],
    labels: Sequence[str],
    *,
    multi_label: bool,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Score a data set from its lines in details.jsonl, read one at a time; ready for metrics.json.

    `chance_accuracy` is the accuracy of whoever always says what is most frequent among the gold labels
    (with `multi_label`, among the sets of them): a model that is no better has learned nothing.
    `unknown_label_rate`, where it is not zero, is the share of examples with a gold label that is not among
    `labels`, and so cannot be predicted; they count as wrong.

    Where no example has a gold label, not one is scored and every score is None: a data set without labels
    measures nothing.

    Args:
        rows: {"gold_labels", "predicted_labels"} an example; with one label an example, those without a
            gold label are not scored.
        labels: Labels the model knows, as for `classification_metrics`.
        multi_label: Whether an example may have several labels, or none.
        resamples: Resamples behind `confidence_intervals` (95 %), which 0 leaves out.
        seed: Seed of the resamples.
    """
    tally = _Tally()
    for row in rows:
        gold, predicted = frozenset(row["gold_labels"]), frozenset(row["predicted_labels"])
        if gold or multi_label:
            tally.append(gold, predicted)
    if not any(tally.golds):
        # With any number of labels those of an example may be none, but hardly those of a whole data set.
        tally = _Tally()
    known = frozenset(labels)
    if multi_label:
        metrics = multi_label_metrics(tally.multi_label, labels)
    else:
        metrics = classification_metrics(tally.confusion, labels)
    metrics["chance_accuracy"] = mean(max(tally.golds.values(), default=0), tally.golds.total())
    num_unknown = sum(number for gold, number in tally.golds.items() if not gold <= known)
    if num_unknown:
        metrics["unknown_label_rate"] = num_unknown / tally.golds.total()
    if resamples and tally.golds:
        accuracy = "subset_accuracy" if multi_label else "accuracy"
        ends = tally.intervals(known, resamples=resamples, seed=seed)
        metrics["confidence_intervals"] = {
            name: list(of) for name, of in zip((accuracy, "micro_f1", "macro_f1"), ends, strict=True)
        }
    return metrics


@dataclass(frozen=True)
class _Occurrences:
    """Labels of examples: which, and whose, as numbers."""

    labels: "array[int]" = field(default_factory=lambda: array("q"))
    examples: "array[int]" = field(default_factory=lambda: array("q"))

    def count(self, times: NDArray[np.int64], num_labels: int) -> NDArray[np.float64]:
        """How often each label occurs where each example does so `times`; whole numbers, hence exact."""
        weights = times[np.asarray(self.examples)]
        counts = np.bincount(np.asarray(self.labels), weights=weights, minlength=num_labels)
        return np.asarray(counts, np.float64)


@dataclass(frozen=True)
class _Tally:
    """What scores and resamples need of every example."""

    golds: Counter[frozenset[str]] = field(default_factory=Counter)
    pairs: Counter[tuple[frozenset[str], frozenset[str]]] = field(default_factory=Counter)
    numbers: dict[str, int] = field(default_factory=dict)
    gold: _Occurrences = field(default_factory=_Occurrences)
    predicted: _Occurrences = field(default_factory=_Occurrences)
    correct: _Occurrences = field(default_factory=_Occurrences)
    is_exact: "array[int]" = field(default_factory=lambda: array("q"))

    def append(self, gold: frozenset[str], predicted: frozenset[str]) -> None:
        self.golds[gold] += 1
        self.pairs[gold, predicted] += 1
        sides = ((self.gold, gold), (self.predicted, predicted), (self.correct, gold & predicted))
        for occurrences, labels in sides:
            for label in labels:
                occurrences.labels.append(self.numbers.setdefault(label, len(self.numbers)))
                occurrences.examples.append(len(self.is_exact))
        self.is_exact.append(gold == predicted)

    @property
    def confusion(self) -> Confusion:
        """The counts where every example has one gold and one predicted label."""
        pairs = Counter[tuple[str, str]]()
        for (gold, predicted), count in self.pairs.items():
            pairs[next(iter(gold)), next(iter(predicted))] = count
        return Confusion(pairs)

    @property
    def multi_label(self) -> MultiLabelCounts:
        names = list(self.numbers)
        counted = (
            Counter(names[number] for number in each.labels)
            for each in (self.gold, self.predicted, self.correct)
        )
        return MultiLabelCounts(len(self.is_exact), sum(self.is_exact), LabelCounts(*counted))

    def intervals(
        self, known: frozenset[str], *, resamples: int, seed: int
    ) -> tuple[tuple[float, float], ...]:
        """Return the ends of the 95 % intervals of accuracy, micro F1 and macro F1.

        Each resample is scored as a data set of its own, so its macro average is over the labels in it.
        """
        is_known = np.array([not known or label in known for label in self.numbers], bool)
        is_exact, num_examples = np.asarray(self.is_exact), len(self.is_exact)
        scores = np.zeros((3, resamples))
        draws = resampled_times(num_examples, resamples=resamples, seed=seed)
        for resample, times in enumerate(draws):
            gold, predicted, correct = (
                each.count(times, len(self.numbers)) for each in (self.gold, self.predicted, self.correct)
            )
            averaged = (gold > 0) | ((predicted > 0) & is_known)
            of_labels = (2 * correct[averaged] / (gold + predicted)[averaged]).tolist()
            scores[:, resample] = (
                ratio(float(times @ is_exact), num_examples),
                ratio(2 * correct.sum(), gold.sum() + predicted.sum()),
                ratio(math.fsum(of_labels), len(of_labels)),
            )
        return tuple(percentile_interval(each, np.ones(resamples)) for each in scores)


def _of_examples(
    scores: Mapping[str, float], num_examples: int, per_label: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What metrics.json says of so many examples: of none, that nothing was measured."""
    found: Mapping[str, float | None] = scores if num_examples else dict.fromkeys(scores)
    return {**found, "num_examples": num_examples, "per_label": per_label if num_examples else {}}


def _averages(counts: LabelCounts, labels: Sequence[str]) -> dict[str, float]:
    return {
        **counts.total.scores.named("micro_"),
        **macro_average(counts, labels).named("macro_"),
        **weighted_average(counts).named("weighted_"),
    }


def _dot(first: Counter[str], second: Counter[str]) -> int:
    return sum(number * second[label] for label, number in first.items())

"""Counts per label, and the precision, recall and F1 (0..1) that come from them.

Counts are integers that add up, so any sharding gives the same figures to the bit. A ratio without a
denominator is 0.0.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Scores(NamedTuple):
    """Precision, recall and F1, each from 0 to 1."""

    precision: float
    recall: float
    f1: float

    def named(self, prefix: str) -> dict[str, float]:
        """Return the scores by name, as metrics.json has them: `{prefix}precision` and so on."""
        return {f"{prefix}{name}": value for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Counts:
    """What was there, what was predicted and what of that was right."""

    num_gold: int = 0
    num_predicted: int = 0
    num_correct: int = 0

    @property
    def scores(self) -> Scores:
        return Scores(
            precision=ratio(self.num_correct, self.num_predicted),
            recall=ratio(self.num_correct, self.num_gold),
            f1=ratio(2 * self.num_correct, self.num_gold + self.num_predicted),
        )


@dataclass(frozen=True)
class LabelCounts:
    """Counts per label of any number of examples, to be added in any order; `LabelCounts()` is zero."""

    gold: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    correct: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        return LabelCounts(
            self.gold + other.gold, self.predicted + other.predicted, self.correct + other.correct
        )

    def __getitem__(self, label: str) -> Counts:
        return Counts(self.gold[label], self.predicted[label], self.correct[label])

    @property
    def total(self) -> Counts:
        """The counts of all labels together, from which micro averages come."""
        return Counts(self.gold.total(), self.predicted.total(), self.correct.total())

    def labels(self, first: Iterable[str] = ()) -> list[str]:
        """Return `first`, without repeats, then the other labels that occur, sorted."""
        listed = dict.fromkeys(first)
        return [*listed, *sorted((self.gold.keys() | self.predicted.keys()) - listed.keys())]


def macro_average(counts: LabelCounts, labels: Sequence[str] = ()) -> Scores:
    """Return the mean over labels, however often each occurs.

    The labels averaged over are those that occur in the gold data or in predictions, as in seqeval and
    scikit-learn. Where `labels` says which labels the data set has, one that is neither among them nor
    in the gold data was made up by a model and is not averaged over: what is predicted with it counts
    against the micro average. Without that rule, two models would be averaged over different labels.
    """
    known = set(labels)
    occurring = [label for label in counts.labels(labels) if counts.gold[label] or counts.predicted[label]]
    averaged = [label for label in occurring if not known or label in known or counts.gold[label]]
    return _mean([(counts[label].scores, 1) for label in averaged])


def weighted_average(counts: LabelCounts) -> Scores:
    """Return the mean over labels, each as often as the gold data has it."""
    return _mean([(counts[label].scores, counts.gold[label]) for label in counts.labels()])


def label_metrics(counts: LabelCounts, labels: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Return label → its scores and counts, for `labels` and then every other that occurs, sorted."""
    return {label: counts[label].scores.named("") | vars(counts[label]) for label in counts.labels(labels)}


def ratio(numerator: float, denominator: float) -> float:
    """Divide; 0.0 where there is nothing to divide by."""
    return numerator / denominator if denominator else 0.0


def mean(total: float, number: int) -> float | None:
    """The mean of what adds up to `total`; None where there is nothing, and so nothing was measured."""
    return total / number if number else None


def _mean(weighted_scores: Sequence[tuple[Scores, int]]) -> Scores:
    total = sum(weight for _, weight in weighted_scores)
    # fsum rounds once, so that neither the order of labels nor the version of Python changes a bit.
    columns = zip(*([weight * score for score in scores] for scores, weight in weighted_scores), strict=True)
    return (
        Scores(*(ratio(math.fsum(column), total) for column in columns)) if total else Scores(0.0, 0.0, 0.0)
    )

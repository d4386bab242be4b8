"""Position-strict entity scores: right means the same start, the same end and the same label.

The figures come from integer counts that add up, so any sharding gives the same result to the bit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankfold.data.examples import Span


@dataclass(frozen=True)
class SpanCounts:
    """What was there, what was predicted and what of that was right.

    Args:
        num_gold: Gold entities.
        num_predicted: Predicted entities, invented ones included.
        num_correct: Predicted entities that are gold entities.
        num_invented: Predicted entities that do not occur in the text.
    """

    num_gold: int = 0
    num_predicted: int = 0
    num_correct: int = 0
    num_invented: int = 0

    def __add__(self, other: "SpanCounts") -> "SpanCounts":
        return SpanCounts(
            self.num_gold + other.num_gold,
            self.num_predicted + other.num_predicted,
            self.num_correct + other.num_correct,
            self.num_invented + other.num_invented,
        )

    @property
    def precision(self) -> float:
        return _ratio(self.num_correct, self.num_predicted)

    @property
    def recall(self) -> float:
        return _ratio(self.num_correct, self.num_gold)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.num_correct, self.num_gold + self.num_predicted)

    @property
    def f1_aligned_only(self) -> float:
        """F1 as if the invented entities had not been predicted."""
        num_aligned = self.num_predicted - self.num_invented
        return _ratio(2 * self.num_correct, self.num_gold + num_aligned)


@dataclass(frozen=True)
class EntityCounts:
    """Counts of any number of examples, to be added in any order; `EntityCounts()` is zero."""

    num_examples: int = 0
    num_parse_failures: int = 0
    per_label: Mapping[str, SpanCounts] = field(default_factory=dict)

    def __add__(self, other: "EntityCounts") -> "EntityCounts":
        per_label = dict(self.per_label)
        for label, counts in other.per_label.items():
            per_label[label] = per_label.get(label, SpanCounts()) + counts
        return EntityCounts(
            self.num_examples + other.num_examples,
            self.num_parse_failures + other.num_parse_failures,
            per_label,
        )

    @property
    def total(self) -> SpanCounts:
        """The counts of all labels together, from which micro averages come."""
        return sum(self.per_label.values(), SpanCounts())


def count_entities(
    gold: Iterable[Span],
    predicted: Iterable[Span],
    *,
    invented_labels: Iterable[str] = (),
    parse_failure: bool = False,
) -> EntityCounts:
    """Count one example; a span given twice counts once, on either side.

    Args:
        gold: The entities in the text.
        predicted: The predicted entities that were found in the text.
        invented_labels: The label of each predicted entity that is not in the text; each is a false
            positive of its label.
        parse_failure: Whether the model's output could not be read.
    """
    gold_spans, predicted_spans = frozenset(gold), frozenset(predicted)
    counts = EntityCounts(num_examples=1, num_parse_failures=int(parse_failure))
    return (
        counts
        + _labelled((span.label for span in gold_spans), SpanCounts(num_gold=1))
        + _labelled((span.label for span in predicted_spans), SpanCounts(num_predicted=1))
        + _labelled((span.label for span in gold_spans & predicted_spans), SpanCounts(num_correct=1))
        + _labelled(invented_labels, SpanCounts(num_predicted=1, num_invented=1))
    )


def example_f1(counts: EntityCounts) -> float:
    """F1 (0..1) of one example; 1 where there was nothing to find and nothing was predicted.

    Only for looking at examples: the F1 of a data set is not the mean of these.
    """
    total = counts.total
    return total.f1 if total.num_gold + total.num_predicted else 1.0


def entity_metrics(counts: EntityCounts, labels: Sequence[str] = ()) -> dict[str, Any]:
    """Return micro and per-label precision, recall and F1 (0..1), rates and counts.

    Args:
        counts: The sum of the counts of every example.
        labels: Labels to list first and even where they never occur; others follow in sorted order.

    A ratio without a denominator is 0.0.
    """
    total = counts.total
    ordered = [*dict.fromkeys(labels), *sorted(counts.per_label.keys() - set(labels))]
    return {
        "entity_f1": total.f1,
        "entity_precision": total.precision,
        "entity_recall": total.recall,
        "num_examples": counts.num_examples,
        "num_gold": total.num_gold,
        "num_predicted": total.num_predicted,
        "num_correct": total.num_correct,
        "per_label": {label: _label_metrics(counts.per_label.get(label, SpanCounts())) for label in ordered},
        "parse_failure_rate": _ratio(counts.num_parse_failures, counts.num_examples),
        "unaligned_rate": _ratio(total.num_invented, total.num_predicted),
        "entity_f1_aligned_only": total.f1_aligned_only,
    }


def _label_metrics(counts: SpanCounts) -> dict[str, float]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "num_gold": counts.num_gold,
        "num_predicted": counts.num_predicted,
        "num_correct": counts.num_correct,
    }


def _labelled(labels: Iterable[str], each: SpanCounts) -> EntityCounts:
    per_label: dict[str, SpanCounts] = {}
    for label in labels:
        per_label[label] = per_label.get(label, SpanCounts()) + each
    return EntityCounts(per_label=per_label)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0

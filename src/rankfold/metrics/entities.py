"""Entity scores, all from integer counts that add up, so any sharding gives the same result to the bit.

What the scores are named after is position-strict: right means the same start, the same end and the same
label. Beside it stand lenient matching, nervaluate's schemes and CLUENER's surface strings.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankfold.data.examples import Span
from rankfold.metrics.bootstrap import percentile_interval, resampled_sums
from rankfold.metrics.counts import LabelCounts, label_metrics, macro_average, ratio
from rankfold.metrics.lenient import count_lenient
from rankfold.metrics.nervaluate_schemes import NervaluateCounts, count_schemes
from rankfold.metrics.surfaces import Surface, count_surfaces


@dataclass(frozen=True)
class EntityCounts:
    """Counts of any number of examples, to be added in any order; `EntityCounts()` is zero.

    Args:
        num_examples: Texts.
        num_parse_failures: Texts for which the model's output could not be read.
        num_invented: Predicted entities that do not occur in their text.
        spans: Per label, gold entities, predicted ones (invented ones included) and right ones.
    """

    num_examples: int = 0
    num_parse_failures: int = 0
    num_invented: int = 0
    spans: LabelCounts = field(default_factory=LabelCounts)

    def __add__(self, other: "EntityCounts") -> "EntityCounts":
        return EntityCounts(
            self.num_examples + other.num_examples,
            self.num_parse_failures + other.num_parse_failures,
            self.num_invented + other.num_invented,
            self.spans + other.spans,
        )


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
    invented = Counter(invented_labels)
    return EntityCounts(
        num_examples=1,
        num_parse_failures=int(parse_failure),
        num_invented=invented.total(),
        spans=LabelCounts(
            gold=Counter(span.label for span in gold_spans),
            predicted=Counter(span.label for span in predicted_spans) + invented,
            correct=Counter(span.label for span in gold_spans & predicted_spans),
        ),
    )


def example_f1(counts: EntityCounts) -> float:
    """F1 (0..1) of one example; 1 where there was nothing to find and nothing was predicted.

    Only for looking at examples: the F1 of a data set is not the mean of these.
    """
    total = counts.spans.total
    return total.scores.f1 if total.num_gold + total.num_predicted else 1.0


def entity_metrics(counts: EntityCounts, labels: Sequence[str] = ()) -> dict[str, Any]:
    """Return position-strict precision, recall and F1 (0..1) — micro, macro and per label — and rates.

    Args:
        counts: The sum of the counts of every example.
        labels: Labels of the data set: listed first, even where they never occur. `macro_average` says
            over which labels the macro average is taken.

    A ratio without a denominator is 0.0.
    """
    total = counts.spans.total
    num_aligned = total.num_predicted - counts.num_invented
    return {
        **total.scores.named("entity_"),
        **macro_average(counts.spans, labels).named("entity_macro_"),
        "num_examples": counts.num_examples,
        **vars(total),
        "per_label": label_metrics(counts.spans, labels),
        "parse_failure_rate": ratio(counts.num_parse_failures, counts.num_examples),
        "unaligned_rate": ratio(counts.num_invented, total.num_predicted),
        "entity_f1_aligned_only": ratio(2 * total.num_correct, total.num_gold + num_aligned),
    }


@dataclass(frozen=True)
class EntityTally:
    """The counts behind every entity score, to be added in any order; `EntityTally()` is zero."""

    strict: EntityCounts = field(default_factory=EntityCounts)
    lenient: LabelCounts = field(default_factory=LabelCounts)
    surfaces: LabelCounts = field(default_factory=LabelCounts)
    nervaluate: NervaluateCounts = field(default_factory=NervaluateCounts)

    def __add__(self, other: "EntityTally") -> "EntityTally":
        return EntityTally(
            self.strict + other.strict,
            self.lenient + other.lenient,
            self.surfaces + other.surfaces,
            self.nervaluate + other.nervaluate,
        )

    def metrics(self, labels: Sequence[str] = ()) -> dict[str, Any]:
        """Return every entity score but the confidence intervals; `labels` as for `entity_metrics`."""
        return {
            **entity_metrics(self.strict, labels),
            **self.lenient.total.scores.named("lenient_"),
            "lenient_macro_f1": macro_average(self.lenient, labels).f1,
            "surface_macro_f1": macro_average(self.surfaces, labels).f1,
            "nervaluate": self.nervaluate.metrics,
        }


def tally_entities(row: Mapping[str, Any]) -> EntityTally:
    """Count one example from its line in details.jsonl."""
    text = row["text"]
    gold = [Span(*span) for span in row["gold"]]
    predicted = [Span(start, end, label) for start, end, label, _ in row["predicted"]]
    invented = [Surface(entity["label"], entity["text"]) for entity in row["invented"]]
    labels = [surface.label for surface in invented]
    return EntityTally(
        strict=count_entities(gold, predicted, invented_labels=labels, parse_failure=row["parse_failure"]),
        lenient=count_lenient(gold, predicted, invented_labels=labels),
        surfaces=count_surfaces(_surfaces(gold, text), [*_surfaces(predicted, text), *invented]),
        nervaluate=count_schemes(gold, predicted, num_invented=len(invented)),
    )


def entity_metrics_of(
    rows: Iterable[Mapping[str, Any]], labels: Sequence[str], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Score a data set from its lines in details.jsonl, read one at a time; ready for metrics.json.

    Args:
        rows: {"text", "gold", "predicted", "invented", "parse_failure"} an example.
        labels: Labels of the data set, as for `entity_metrics`.
        resamples: Resamples behind `confidence_intervals` (95 %), which 0 leaves out.
        seed: Seed of the resamples.
    """
    total = EntityTally()
    # Per example: gold, predicted, strictly right and leniently right entities.
    columns = tuple(array("q") for _ in range(4))
    for row in rows:
        one = tally_entities(row)
        total += one
        strict, lenient = one.strict.spans.total, one.lenient.total
        counts = (strict.num_gold, strict.num_predicted, strict.num_correct, lenient.num_correct)
        for column, count in zip(columns, counts, strict=True):
            column.append(count)
    metrics = total.metrics(labels)
    if resamples:
        metrics["confidence_intervals"] = _intervals(columns, resamples, seed)
    return metrics


def _intervals(columns: Sequence["array[int]"], resamples: int, seed: int) -> dict[str, list[float]]:
    gold, predicted, strict, lenient = resampled_sums(columns, resamples=resamples, seed=seed)
    intervals = {}
    for name, correct in (("entity", strict), ("lenient", lenient)):
        intervals[f"{name}_precision"] = percentile_interval(correct, predicted)
        intervals[f"{name}_recall"] = percentile_interval(correct, gold)
        intervals[f"{name}_f1"] = percentile_interval(2 * correct, gold + predicted)
    return {name: list(interval) for name, interval in intervals.items()}


def _surfaces(spans: Iterable[Span], text: str) -> list[Surface]:
    return [Surface(span.label, text[span.start : span.end]) for span in spans]

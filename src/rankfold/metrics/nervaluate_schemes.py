"""The four schemes of the package nervaluate, which are those of SemEval 2013, task 9.1.

`strict` wants boundaries and label, `exact` boundaries, `partial` boundaries too but gives half for an
overlap, `ent_type` label and overlap. Predicted entities choose their gold entity one after the other, so
figures depend on the order: here both sides are sorted by position and without repeats. Kept as they are
in nervaluate 1.2:

- An entity that overlaps but does not match takes its gold entity away from a later one that would match,
  so `strict` may find fewer correct entities than counting equal spans does.
- An overlap counts from 1 % of the gold entity: one character of 101 is not enough.
- An entity that is wrong takes the leftmost gold entity that it overlaps, not the nearest.

nervaluate ignores labels that it was not told of; here every label counts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rankfold.data.examples import Span
from rankfold.metrics.counts import ratio

_Matches = Callable[[Span, Span], bool]


def _same_boundaries(predicted: Span, gold: Span) -> bool:
    return (predicted.start, predicted.end) == (gold.start, gold.end)


def _same_label(predicted: Span, gold: Span) -> bool:
    return predicted.label == gold.label


_SCHEMES: Mapping[str, _Matches] = MappingProxyType(
    {
        "strict": lambda predicted, gold: predicted == gold,
        "exact": _same_boundaries,
        "partial": _same_boundaries,
        "ent_type": _same_label,
    }
)


@dataclass(frozen=True)
class SchemeCounts:
    """Entities by what became of them under one scheme, in nervaluate's words."""

    correct: int = 0
    incorrect: int = 0
    partial: int = 0
    missed: int = 0
    spurious: int = 0

    def __add__(self, other: "SchemeCounts") -> "SchemeCounts":
        return SchemeCounts(
            self.correct + other.correct,
            self.incorrect + other.incorrect,
            self.partial + other.partial,
            self.missed + other.missed,
            self.spurious + other.spurious,
        )

    @property
    def metrics(self) -> dict[str, Any]:
        """Precision, recall and F1 (0..1) and the counts; a partial match is half a match."""
        found = self.correct + 0.5 * self.partial
        paired = self.correct + self.incorrect + self.partial
        precision = ratio(found, paired + self.spurious)
        recall = ratio(found, paired + self.missed)
        f1 = ratio(2 * (precision * recall), precision + recall)
        return {"precision": precision, "recall": recall, "f1": f1} | vars(self)


@dataclass(frozen=True)
class NervaluateCounts:
    """The counts of all schemes, to be added in any order; `NervaluateCounts()` is zero."""

    strict: SchemeCounts = SchemeCounts()
    exact: SchemeCounts = SchemeCounts()
    partial: SchemeCounts = SchemeCounts()
    ent_type: SchemeCounts = SchemeCounts()

    def __add__(self, other: "NervaluateCounts") -> "NervaluateCounts":
        return NervaluateCounts(*(getattr(self, name) + getattr(other, name) for name in _SCHEMES))

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Scheme → its precision, recall, F1 (0..1) and counts."""
        return {name: getattr(self, name).metrics for name in _SCHEMES}


def count_schemes(gold: Iterable[Span], predicted: Iterable[Span], *, num_invented: int) -> NervaluateCounts:
    """Count one example; entities that are not in the text are spurious under each scheme."""
    gold_spans, predicted_spans = sorted(set(gold)), sorted(set(predicted))
    counts = {}
    for name, matches in _SCHEMES.items():
        num_matches, num_wrong = _pair(gold_spans, predicted_spans, matches)
        num_paired = num_matches + num_wrong
        counts[name] = SchemeCounts(
            correct=num_matches,
            incorrect=0 if name == "partial" else num_wrong,
            partial=num_wrong if name == "partial" else 0,
            missed=len(gold_spans) - num_paired,
            spurious=len(predicted_spans) - num_paired + num_invented,
        )
    return NervaluateCounts(**counts)


def _pair(gold: list[Span], predicted: list[Span], matches: _Matches) -> tuple[int, int]:
    """Give each predicted entity a gold one; return how many match and how many only overlap."""
    unpaired = list(gold)
    num_matches = num_wrong = 0
    for span in predicted:
        overlapping = [other for other in unpaired if _overlaps(span, other)]
        if not overlapping:
            continue
        matching = [other for other in overlapping if matches(span, other)]
        num_matches += bool(matching)
        num_wrong += not matching
        nearest = min(matching, key=lambda other: _distance(span, other), default=overlapping[0])
        unpaired.remove(nearest)
    return num_matches, num_wrong


def _overlaps(predicted: Span, gold: Span) -> bool:
    num_shared = min(predicted.end, gold.end) - max(predicted.start, gold.start)
    return num_shared > 0 and 100 * num_shared >= gold.end - gold.start


def _distance(predicted: Span, gold: Span) -> int:
    return abs(predicted.start - gold.start) + abs(predicted.end - gold.end)

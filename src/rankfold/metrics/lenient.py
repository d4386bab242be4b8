"""Lenient entity scores: right means the same label and at least one character in common, one to one.

Gold and predicted entities are paired so that there are as many pairs as possible. That number depends on
nothing but the spans, where pairing greedily from left to right depends on the order and can miss pairs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from rankfold.data.examples import Span
from rankfold.metrics.counts import LabelCounts


def count_lenient(
    gold: Iterable[Span], predicted: Iterable[Span], *, invented_labels: Iterable[str] = ()
) -> LabelCounts:
    """Count one example; a span given twice counts once, an invented entity is a false positive."""
    gold_spans, predicted_spans = frozenset(gold), frozenset(predicted)
    labels = {span.label for span in gold_spans} & {span.label for span in predicted_spans}
    pairs = {
        label: num_overlapping_pairs(_labelled(gold_spans, label), _labelled(predicted_spans, label))
        for label in labels
    }
    return LabelCounts(
        gold=Counter(span.label for span in gold_spans),
        predicted=Counter([*(span.label for span in predicted_spans), *invented_labels]),
        correct=+Counter(pairs),
    )


def num_overlapping_pairs(first: Sequence[Span], second: Sequence[Span]) -> int:
    """Return the largest number of pairs, one span of each side, that share a character.

    Of all spans left, the one that ends first takes, among those of the other side that it overlaps, the
    one that ends first. This is never worse than another choice: all that it overlaps hold its last
    character, and whatever overlaps the one taken overlaps those that end later as well.
    """
    sides: tuple[list[Span], list[Span]] = (_by_end(first), _by_end(second))
    num_pairs = 0
    while sides[0] and sides[1]:
        earlier, later = sides if sides[0][0].end <= sides[1][0].end else (sides[1], sides[0])
        span = earlier.pop(0)
        partner = next((other for other in later if _overlap(span, other)), None)
        if partner is not None:
            later.remove(partner)
            num_pairs += 1
    return num_pairs


def _by_end(spans: Iterable[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: (span.end, span.start))


def _overlap(first: Span, second: Span) -> bool:
    return max(first.start, second.start) < min(first.end, second.end)


def _labelled(spans: Iterable[Span], label: str) -> list[Span]:
    return [span for span in spans if span.label == label]

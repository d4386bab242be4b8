"""Entities of examples, from the records of their windows."""

import math
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rankfold.data.examples import Span
from rankfold.entities.candidates import SpanCandidate
from rankfold.errors import ShardError
from rankfold.nbest.entity_records import CANDIDATE, PREDICTED, EntityRecords, best_first, check_n_best_size


@dataclass(frozen=True)
class TaggedEntities:
    """What the windows of one example came to.

    Attributes:
        predicted: By position, none overlapping another.
        candidates: The n best spans, by score descending, then start, end, label.
    """

    predicted: tuple[SpanCandidate, ...]
    candidates: tuple[SpanCandidate, ...]


def entities_of_examples(
    records: EntityRecords,
    example_of_window: npt.NDArray[np.int64],
    labels: Sequence[str],
    *,
    first_window: int,
    examples: range,
    n_best_size: int,
) -> Iterator[TaggedEntities]:
    """Yield what each example of a range came to, in order; the order of the records does not matter.

    Predicted spans of neighbouring windows may overlap: the best stay, in the order of the candidates.

    Args:
        records: Every record of the range's windows; those of other windows do not count.
        example_of_window: (num_windows,), the example of each window of the range.
        labels: The data set's labels.
        first_window: Id of the first of these windows.
        examples: The examples of the range.
        n_best_size: Candidates of an example, at most as many as were kept of a window.

    Raises:
        ShardError: A record is not of this data set, or fewer candidates were kept of a window.
    """
    windows = records["window_id"].astype(np.int64) - first_window
    inside = (windows >= 0) & (windows < len(example_of_window))
    records = best_first(records[inside], "example_index")
    _check_examples(records, example_of_window, first_window, len(labels))
    check_n_best_size(records, n_best_size)
    bounds = np.searchsorted(records["example_index"], np.arange(examples.start, examples.stop + 1))
    for start, stop in pairwise(bounds.tolist()):
        rows = records[start:stop]
        candidates = rows[(rows["flags"] & CANDIDATE) > 0][:n_best_size]
        predicted = _without_overlaps(_spans(rows[(rows["flags"] & PREDICTED) > 0], labels))
        yield TaggedEntities(predicted, tuple(_spans(candidates, labels)))


def _spans(records: EntityRecords, labels: Sequence[str]) -> Iterator[SpanCandidate]:
    for start, end, label, score in records[["start_char", "end_char", "label", "score"]].tolist():
        yield SpanCandidate(Span(start, end, labels[label]), math.exp(score))


def _without_overlaps(candidates: Iterable[SpanCandidate]) -> tuple[SpanCandidate, ...]:
    """Keep each span that overlaps none before it; return them by position."""
    kept: list[SpanCandidate] = []
    ends: list[int] = []
    for candidate in candidates:
        place = bisect(ends, candidate.span.start)
        if place == len(kept) or kept[place].span.start >= candidate.span.end:
            kept.insert(place, candidate)
            ends.insert(place, candidate.span.end)
    return tuple(kept)


def _check_examples(
    records: EntityRecords, example_of_window: npt.NDArray[np.int64], first_window: int, num_labels: int
) -> None:
    expected = example_of_window[records["window_id"].astype(np.int64) - first_window]
    foreign = (records["example_index"] != expected) | (records["label"] >= num_labels)
    if foreign.any():
        raise ShardError(
            f"{foreign.sum()} records are not of this data set, the first of window "
            f"{records['window_id'][foreign].min()}: another example, or a label beyond {num_labels}",
            remedy="Evaluate into an empty shards folder: these records come from other data.",
        )

"""From ranked spans to answers: once, after every merge.

The n-best list is the `n_best_size` best candidates. For SQuAD v2 the null takes part and loses ties.
The two candidates that the answer is chosen between, the null and the best span with text, are never
cut away; for the null, the common post-processing does the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.nbest.candidates import CANDIDATE, Candidates, Ranking
from rankfold.nbest.kernels import kernel
from rankfold.nbest.order import ordered
from rankfold.nbest.softmax import softmax

CERTAIN_NULL = float(np.finfo(np.float32).max)
"""Null odds where there is nothing to compare the null with: scores are float32, none is larger."""

NOTHING = -1
"""A row in place of a candidate that does not exist."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Answers:
    """The n-best list of each example of a range, and which candidate of it is the answer.

    Attributes:
        nbest: (num_candidates,), array of CANDIDATE; best first within an example, examples in order.
        probabilities: (num_candidates,), softmax over the example's list.
        row_starts: (num_examples + 1,), where each example's list begins.
        chosen: (num_examples,), row of the answer in `nbest`; NOTHING where there was no candidate.
        null_scores: (num_examples,), the least over the example's windows, NaN where it has none.
        null_score_differences: (num_examples,), null score − best non-empty score, exact; NaN where
            there is no window or no span with text.
    """

    nbest: Candidates
    probabilities: npt.NDArray[np.float64]
    row_starts: npt.NDArray[np.int64]
    chosen: npt.NDArray[np.int64]
    null_scores: npt.NDArray[np.float64]
    null_score_differences: npt.NDArray[np.float64]

    @property
    def null_odds(self) -> npt.NDArray[np.float64]:
        """(num_examples,), what SQuAD's official v2 script reads: `null_score_differences` without NaN."""
        differences = self.null_score_differences
        return np.where(np.isnan(differences), CERTAIN_NULL, differences)


def finalise(
    ranking: Ranking, *, version_2_with_negative: bool, null_score_diff_threshold: float = 0.0
) -> Answers:
    """Answer every example of the ranking.

    v1: the best candidate. v2: the best span with text, and the null only where null − best is above
    the threshold. A span has text unless it ends where it starts.
    """
    spans, nulls = ranking.spans, ranking.nulls
    num_examples = len(nulls)
    has_null = nulls["window"] != NOTHING
    null_scores = np.where(has_null, nulls["score"].astype(np.float64), np.nan)
    best = np.empty(num_examples, np.int64)
    _find_best(spans["end_char"] > spans["start_char"], ranking.row_starts, best)
    differences = np.full(num_examples, np.nan)
    both = has_null & (best != NOTHING)
    differences[both] = null_scores[both] - spans["score"][best[both]]

    if version_2_with_negative:
        best_or_null = np.where(differences <= null_score_diff_threshold, best, NOTHING)
        nbest, row_starts, chosen = _with_nulls(ranking, has_null, best, best_or_null)
    else:
        nbest, row_starts = spans, ranking.row_starts
        chosen = np.where(np.diff(row_starts) > 0, row_starts[:-1], NOTHING)
    probabilities = np.empty(len(nbest))
    softmax(nbest["score"].astype(np.float64), row_starts, probabilities)
    return Answers(nbest, probabilities, row_starts, chosen, null_scores, differences)


def _with_nulls(
    ranking: Ranking, has_null: Array, best: Array, best_or_null: Array
) -> tuple[Candidates, Array, Array]:
    """The lists with each example's null in its place, where they begin, and the answers' rows."""
    spans, nulls = ranking.spans, ranking.nulls
    nbest: Candidates = np.empty(len(spans) + np.count_nonzero(has_null), CANDIDATE)
    row_starts, chosen = np.empty(len(nulls) + 1, np.int64), np.empty(len(nulls), np.int64)
    _keep(
        spans,
        _orders(spans),
        ranking.row_starts,
        nulls,
        _orders(nulls),
        has_null,
        best,
        np.where(has_null, best_or_null, ranking.row_starts[:-1]),
        ranking.n_best_size,
        nbest,
        row_starts,
        chosen,
    )
    return nbest[: row_starts[-1]], row_starts, chosen


def _orders(candidates: Candidates) -> Array:
    return ordered(candidates["score"].copy().view(np.int32).astype(np.int64))


@kernel
def _find_best(has_text: Array, row_starts: Array, best: Array) -> None:
    """Fill `best` with the row of each example's best span with text."""
    for example in range(len(best)):
        best[example] = NOTHING
        for span in range(row_starts[example], row_starts[example + 1]):
            if has_text[span]:
                best[example] = span
                break


@kernel
def _keep(
    spans: Candidates,
    span_orders: Array,
    span_starts: Array,
    nulls: Candidates,
    null_orders: Array,
    takes_part: Array,
    best: Array,
    answers: Array,
    n_best_size: int,
    nbest: Candidates,
    row_starts: Array,
    chosen: Array,
) -> None:
    """Fill `nbest` with each example's list, `row_starts` with where it begins, `chosen` with its answer.

    Args:
        span_orders: (num_spans,), integers in the order of the scores.
        span_starts: (num_examples + 1,), where the spans of each example begin.
        null_orders: (num_examples,), as `span_orders`.
        takes_part: (num_examples,), whether the null does.
        best: (num_examples,), row of the best span with text, or NOTHING.
        answers: (num_examples,), row of the span that is the answer; NOTHING for the null.
    """
    row_starts[0] = count = 0
    for example in range(len(nulls)):
        span, stop = span_starts[example], span_starts[example + 1]
        null_waits, rank = takes_part[example], 0
        chosen[example] = NOTHING
        while span < stop or null_waits:
            if null_waits and (span == stop or span_orders[span] < null_orders[example]):
                row, null_waits = NOTHING, False
            else:
                row, span = span, span + 1
            if rank < n_best_size or row in (NOTHING, best[example]):
                nbest[count] = nulls[example] if row == NOTHING else spans[row]
                if row == answers[example]:
                    chosen[example] = count
                count += 1
            rank += 1
        row_starts[example + 1] = count

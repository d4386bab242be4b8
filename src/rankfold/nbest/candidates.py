"""From merged records to each example's best spans and its null, in one stated order.

Score descending, then window, then start rank, then end rank: the order in which the common SQuAD
post-processing lists spans, then sorts them stably.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.errors import NumericalError, ShardError
from rankfold.nbest import grid
from rankfold.nbest.merge import MergeState
from rankfold.nbest.records import Records, check_n_best_size, num_ends, num_starts
from rankfold.nbest.windows import WindowTable

CANDIDATE = np.dtype(
    [
        ("window", "<i8"),  # row in the window table, -1 in place of a null that does not exist
        ("start_char", "<i4"),
        ("end_char", "<i4"),
        ("start_logit", "<f4"),
        ("end_logit", "<f4"),
        ("score", "<f4"),
    ]
)
"""A span. `score` is the float32 sum of its logits."""

Candidates = npt.NDArray[np.void]
"""An array of CANDIDATE. A null has characters -1, -1."""

NOWHERE = np.array((-1, -1, -1, 0, 0, 0), CANDIDATE)
"""A null before it is known from a window."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best spans and the null of each example of a range.

    Attributes:
        n_best_size: Spans kept of an example.
        spans: Array of CANDIDATE; best first within an example, examples in order.
        row_starts: (num_examples + 1,), where each example's spans start in `spans`.
        nulls: (num_examples,), array of CANDIDATE: each example's least null; window -1 where the
            example has no window.
    """

    n_best_size: int
    spans: Candidates
    row_starts: npt.NDArray[np.int64]
    nulls: Candidates


def rank_candidates(
    state: MergeState,
    windows: WindowTable,
    *,
    examples: range,
    n_best_size: int,
    max_answer_length: int,
) -> Ranking:
    """Rank the spans of the examples of a range; `max_answer_length` is in tokens.

    A span is dropped where either side is not context, it ends before it starts, it is longer than
    `max_answer_length`, or its start is not where the window table allows a start (`max_context`).

    Args:
        state: The records of exactly the table's windows.
        windows: All windows of these examples, with their numbers in the whole data set.
        examples: Places of the examples in the whole data set, one after another.

    Raises:
        ShardError: The state is not exactly the table's windows, or keeps fewer than `n_best_size`.
        UserError: `n_best_size` is not 1 to 20.
        NumericalError: A logit is not finite, or the sum of a kept span's or null's is not.
    """
    check_n_best_size(n_best_size)
    records = state.records
    _check_windows(records, windows, examples)
    _check_records(records, windows, n_best_size)
    places = np.arange(examples.start, examples.stop + 1)
    bounds = np.searchsorted(windows.example_index, places)
    num_examples_with_windows = np.count_nonzero(np.diff(bounds))
    spans: Candidates = np.empty(num_examples_with_windows * n_best_size, CANDIDATE)
    row_starts = np.empty(len(bounds), np.int64)
    may_start = np.ones(0, np.bool_) if windows.max_context is None else windows.max_context
    grid.rank_spans(
        records,
        bounds,
        windows.row_starts,
        windows.offsets,
        may_start,
        max_answer_length,
        n_best_size,
        spans,
        row_starts,
    )
    spans = spans[: row_starts[-1]]
    nulls: Candidates = np.full(len(examples), NOWHERE)
    grid.least_nulls(records, bounds, nulls)
    _check_scores(spans, windows)
    _check_scores(nulls, windows)
    return Ranking(n_best_size, spans, row_starts, nulls)


def _check_windows(records: Records, windows: WindowTable, examples: range) -> None:
    """The merge demands each window of the range exactly once, and nothing else."""
    expected = windows.window_id.astype(np.uint64)
    if not np.array_equal(records["window_id"], expected):
        missing = np.setdiff1d(expected, records["window_id"])
        unknown = np.setdiff1d(records["window_id"], expected)
        raise ShardError(
            f"of {len(windows)} windows, {len(missing)} are missing{_named(missing)} "
            f"and {len(unknown)} are not of this data set{_named(unknown)}",
            remedy="Delete this variant's folder in shards/, then run `launch resume RUN`.",
        )
    index = windows.example_index
    moved = expected[records["example_index"] != index]
    if len(moved) or (len(index) and not (examples.start <= index[0] and index[-1] < examples.stop)):
        raise ShardError(
            f"the records and the {len(examples)} examples from {examples.start} on do not belong together: "
            f"{len(moved)} windows are of another example{_named(moved)}",
            remedy="Evaluate into an empty shards folder: these records come from other data.",
        )


def _check_records(records: Records, windows: WindowTable, n_best_size: int) -> None:
    """Say what is wrong with the records, if anything is: every kind but the rarest by its own name."""
    faults = np.empty(len(records), np.uint8)
    grid.find_faults(records, windows.lengths, n_best_size, faults)
    if not faults.any():
        return
    few = np.flatnonzero(faults == grid.FEW)
    if len(few):
        kept = np.minimum(num_starts(records), num_ends(records))[few[0]]
        raise ShardError(
            f"n_best_size is {n_best_size}, but the record of window {windows.window_id[few[0]]} "
            f"keeps {kept} starts and ends",
            remedy=f"Set evaluation.n_best_size to {kept} or less, or evaluate again.",
        )
    outside, broken, unordered = (
        windows.window_id[faults == fault] for fault in (grid.OUTSIDE, grid.NOT_FINITE, grid.UNORDERED)
    )
    if len(broken):
        raise NumericalError(
            f"{len(broken)} records hold a logit that is not a finite number{_named(broken)}",
            where=f"window {broken[0]}",
            remedy="Evaluate into an empty shards folder.",
        )
    what = "point behind the last token of their window" if len(outside) else "are not in order, best first"
    faulty = outside if len(outside) else unordered
    raise ShardError(
        f"{len(faulty)} records {what}{_named(faulty)}",
        remedy="Evaluate into an empty shards folder: these records come from other data.",
    )


def _check_scores(candidates: Candidates, windows: WindowTable) -> None:
    broken = candidates[~np.isfinite(candidates["score"])]
    if len(broken):
        first = broken[0]
        raise NumericalError(
            f"the score {first['start_logit']} + {first['end_logit']} is beyond the range of float32",
            where=f"window {windows.window_id[first['window']]}",
            remedy="Look at the training loss: the model may have diverged.",
        )


def _named(window_ids: npt.NDArray[np.integer[Any]]) -> str:
    """The first few ids in brackets, or nothing."""
    if not len(window_ids):
        return ""
    more = ", …" if len(window_ids) > 10 else ""
    return f" ({', '.join(str(window_id) for window_id in window_ids[:10])}{more})"

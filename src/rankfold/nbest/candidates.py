"""From merged records to each example's best spans and its null, in one stated order.

Score descending, then window, then start rank, then end rank: the order in which the common SQuAD
post-processing lists spans, then sorts them stably.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.errors import NumericalError, ShardError
from rankfold.nbest.merge import MergeState
from rankfold.nbest.order import INDEX_MASK, NOTHING, largest, ordered_bits, pack, unpack_index
from rankfold.nbest.records import Records, check_n_best_size, num_ends, num_starts
from rankfold.nbest.windows import WindowTable

WINDOWS_AT_A_TIME = 1024
"""A window's 20 × 20 grid of spans takes about 20 KB in all its arrays; this keeps them near 20 MB."""

CANDIDATE = np.dtype(
    [
        ("window", "<i8"),  # row in the window table
        ("example_index", "<i8"),
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


@dataclass(frozen=True, eq=False)
class Ranking:
    """Each example's best spans and its null.

    Attributes:
        n_best_size: Spans kept of an example.
        spans: Array of CANDIDATE; best first within an example, examples in order.
        row_starts: (num_examples + 1,), where each example's spans start in `spans`.
        nulls: Array of CANDIDATE: the least null of every example that has a window, in order.
    """

    n_best_size: int
    spans: Candidates
    row_starts: npt.NDArray[np.int64]
    nulls: Candidates


def rank_candidates(
    state: MergeState,
    windows: WindowTable,
    *,
    num_examples: int,
    n_best_size: int,
    max_answer_length: int,
) -> Ranking:
    """Rank the spans of every example; `max_answer_length` is in tokens.

    A span is dropped where either side is not context, it ends before it starts, it is longer than
    `max_answer_length`, or its start is not where the window table allows a start (`max_context`).

    Raises:
        ShardError: The state is not exactly the table's windows, or keeps fewer than `n_best_size`.
        UserError: `n_best_size` is not 1 to 20.
        NumericalError: The logits of a kept span or null are finite but their sum is not.
    """
    check_n_best_size(n_best_size)
    records = state.records
    _check_windows(records, windows, num_examples)
    _check_positions(records, windows, n_best_size)
    # Scores beyond float32's range become infinite here and are reported by _check_scores.
    with np.errstate(over="ignore"):
        chunks = [
            _rank_windows(
                records,
                windows,
                slice(first, first + WINDOWS_AT_A_TIME),
                n_best_size,
                max_answer_length,
            )
            for first in range(0, len(records), WINDOWS_AT_A_TIME)
        ]
        nulls = _least_nulls(records)
    spans = np.concatenate([np.empty(0, CANDIDATE), *chunks])
    # Stable, and spans arrive by window and rank within it, so ties keep that order.
    spans = spans[np.lexsort((-ordered_bits(spans["score"]), spans["example_index"]))]
    first = np.searchsorted(spans["example_index"], spans["example_index"])
    spans = spans[np.arange(len(spans)) - first < n_best_size]
    _check_scores(spans, windows)
    _check_scores(nulls, windows)
    row_starts = np.searchsorted(spans["example_index"], np.arange(num_examples + 1)).astype(np.int64)
    return Ranking(n_best_size, spans, row_starts, nulls)


def _rank_windows(
    records: Records, windows: WindowTable, rows: slice, n_best_size: int, max_answer_length: int
) -> Candidates:
    """The best spans of some windows, by window, then best first."""
    records, row_starts = records[rows], windows.row_starts[:-1][rows, None]
    starts = records["start_positions"][:, :n_best_size].astype(np.int64)
    ends = records["end_positions"][:, :n_best_size].astype(np.int64)
    rank = np.arange(n_best_size)
    is_start = (rank < num_starts(records)[:, None]) & (windows.offsets[row_starts + starts, 0] >= 0)
    is_end = (rank < num_ends(records)[:, None]) & (windows.offsets[row_starts + ends, 0] >= 0)
    if windows.max_context is not None:
        is_start &= windows.max_context[row_starts + starts]

    tokens = ends[:, None, :] - starts[:, :, None] + 1  # (num_windows, start rank, end rank)
    valid = is_start[:, :, None] & is_end[:, None, :] & (tokens >= 1) & (tokens <= max_answer_length)
    scores = records["start_logits"][:, :n_best_size, None] + records["end_logits"][:, None, :n_best_size]
    place = np.arange(n_best_size * n_best_size).reshape(n_best_size, n_best_size)
    keys = np.where(valid, pack(scores, INDEX_MASK - place), NOTHING)
    best = largest(keys.reshape(len(records), -1), n_best_size)

    row, column = np.nonzero(best != NOTHING)
    start_rank, end_rank = np.divmod(INDEX_MASK - unpack_index(best[row, column]), n_best_size)
    spans: Candidates = np.zeros(len(row), dtype=CANDIDATE)
    spans["window"] = row + rows.start
    spans["example_index"] = records["example_index"][row]
    spans["start_char"] = windows.offsets[row_starts[row, 0] + starts[row, start_rank], 0]
    spans["end_char"] = windows.offsets[row_starts[row, 0] + ends[row, end_rank], 1]
    spans["start_logit"] = records["start_logits"][row, start_rank]
    spans["end_logit"] = records["end_logits"][row, end_rank]
    spans["score"] = scores[row, start_rank, end_rank]
    return spans


def _least_nulls(records: Records) -> Candidates:
    """The least null of each example that has a window; the first window wins a tie."""
    nulls: Candidates = np.zeros(len(records), dtype=CANDIDATE)
    nulls["window"] = np.arange(len(records))
    nulls["example_index"] = records["example_index"]
    nulls["start_char"] = nulls["end_char"] = -1
    nulls["start_logit"] = records["null_start_logit"]
    nulls["end_logit"] = records["null_end_logit"]
    nulls["score"] = records["null_start_logit"] + records["null_end_logit"]
    nulls = nulls[np.lexsort((ordered_bits(nulls["score"]), nulls["example_index"]))]
    _, first = np.unique(nulls["example_index"], return_index=True)
    return nulls[first]


def _check_windows(records: Records, windows: WindowTable, num_examples: int) -> None:
    """The merge demands each window of the data set exactly once, and nothing else."""
    expected = windows.window_id.astype(np.uint64)
    missing = np.setdiff1d(expected, records["window_id"])
    unknown = np.setdiff1d(records["window_id"], expected)
    if len(missing) or len(unknown):
        raise ShardError(
            f"of {len(windows)} windows, {len(missing)} are missing{_named(missing)} "
            f"and {len(unknown)} are not of this data set{_named(unknown)}",
            remedy="Run the evaluation again: only what is missing is computed.",
        )
    moved = expected[records["example_index"] != windows.example_index]
    if len(moved) or (len(windows) and windows.example_index[-1] >= num_examples):
        raise ShardError(
            f"the records and the {num_examples} examples do not belong together: "
            f"{len(moved)} windows are of another example{_named(moved)}",
            remedy="Evaluate into an empty shards folder: these records come from other data.",
        )


def _check_positions(records: Records, windows: WindowTable, n_best_size: int) -> None:
    needed = np.minimum(windows.lengths, n_best_size)
    kept = np.minimum(num_starts(records), num_ends(records))
    short = np.flatnonzero(kept < needed)
    if len(short):
        raise ShardError(
            f"n_best_size is {n_best_size}, but the record of window {windows.window_id[short[0]]} "
            f"keeps {kept[short[0]]} starts and ends",
            remedy=f"Set evaluation.n_best_size to {kept[short[0]]} or less, or evaluate again.",
        )
    last = np.maximum(records["start_positions"].max(axis=1), records["end_positions"].max(axis=1))
    outside = windows.window_id[last >= windows.lengths]
    if len(outside):
        raise ShardError(
            f"{len(outside)} records point behind the last token of their window{_named(outside)}",
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

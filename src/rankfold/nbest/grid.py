"""The grid of best starts × best ends of every window, searched for each example's best spans."""

from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.nbest.kernels import kernel
from rankfold.nbest.order import ordered
from rankfold.nbest.records import MAX_N_BEST_SIZE, Records

Array = npt.NDArray[Any]

GOOD, FEW, OUTSIDE, NOT_FINITE, UNORDERED = range(5)
"""What `find_faults` says of a record."""

FAR = 1 << 30
""""""

WORST = -(1 << 62)
"""Below the order of every score."""


@kernel
def find_faults(records: Records, lengths: Array, n_best_size: int, faults: Array) -> None:
    """Fill `faults` (num_windows,) with what keeps a record from being ranked, GOOD where nothing does.

    Args:
        lengths: (num_windows,), real tokens of each window.
    """
    for row in range(len(records)):
        record = records[row]
        num_starts, num_ends = record.flags & 0xFF, record.flags >> 8 & 0xFF
        if min(num_starts, num_ends) < min(lengths[row], n_best_size):
            faults[row] = FEW
            continue
        starts = _fault(record.start_positions, record.start_logits, num_starts, lengths[row])
        ends = _fault(record.end_positions, record.end_logits, num_ends, lengths[row])
        nulls_finite = np.isfinite(record.null_start_logit) and np.isfinite(record.null_end_logit)
        faults[row] = max(starts, ends) if nulls_finite else NOT_FINITE


@kernel
def _fault(positions: Array, logits: Array, count: int, length: int) -> int:
    for rank in range(count):
        if positions[rank] >= length:
            return OUTSIDE
        if not np.isfinite(logits[rank]):
            return NOT_FINITE
        if rank > 0 and _order(logits[rank]) > _order(logits[rank - 1]):
            return UNORDERED
    return GOOD


@kernel
def rank_spans(
    records: Records,
    bounds: Array,
    token_rows: Array,
    offsets: Array,
    may_start: Array,
    max_answer_length: int,
    n_best_size: int,
    spans: Array,
    row_starts: Array,
) -> None:
    """Fill `spans`, an array of CANDIDATE, with the best spans of each example, best first.

    Args:
        records: Their starts and ends stand best first.
        bounds: (num_examples + 1,), where the windows of each example begin in `records`.
        token_rows: (num_windows + 1,), where the tokens of each window begin in `offsets`.
        offsets: (num_tokens, 2), characters; negative where a token is not context.
        may_start: (num_tokens,), whether an answer may start there; empty if it may anywhere.
        spans: Has room for `n_best_size` spans of every example that has a window.
        row_starts: (num_examples + 1,), filled with where the spans of each example begin.
    """
    best = np.empty((2, n_best_size), np.int64)
    ends = np.empty(32, np.int32)
    row_starts[0] = 0
    for example in range(len(bounds) - 1):
        count = 0
        for row in range(bounds[example], bounds[example + 1]):
            tokens = slice(token_rows[row], token_rows[row + 1])
            count = _search(records, row, offsets[tokens], may_start[tokens], max_answer_length, ends, best, count)
        first = row_starts[example]
        row_starts[example + 1] = first + count
        for place in range(count):
            _fill(spans, first + place, records, best[1, place], token_rows, offsets)


@kernel
def _search(
    records: Records,
    row: int,
    offsets: Array,
    may_start: Array,
    max_answer_length: int,
    ends: Array,
    best: Array,
    count: int,
) -> int:
    """Put the spans of a window that are good enough among the `count` best so far; return the new count.

    Cells come by window, start rank, end rank, so only a greater score takes a place from one before it.
    """
    record, size = records[row], best.shape[1]
    num_starts, num_ends = min(size, record.flags & 0xFF), min(size, record.flags >> 8 & 0xFF)
    least, longest = best[0, size - 1] if count == size else WORST, np.uint32(max(0, max_answer_length))
    for end_rank in range(num_ends):
        ends[end_rank] = record.end_positions[end_rank]
    ends[num_ends:] = FAR
    for start_rank in range(num_starts):
        start, start_logit = np.int64(record.start_positions[start_rank]), record.start_logits[start_rank]
        if _order(start_logit + record.end_logits[0]) <= least:
            break  # later starts are no better
        if offsets[start, 0] < 0 or (len(may_start) > 0 and not may_start[start]):
            continue
        waiting = _in_reach(ends, np.int32(start), longest)
        while waiting:
            end_rank = _lowest_bit(waiting)
            waiting &= waiting - 1
            order = _order(start_logit + record.end_logits[end_rank])
            if order <= least:
                break  # later ends of this start are no better
            if offsets[record.end_positions[end_rank], 0] < 0:
                continue
            count = min(count + 1, size)
            _insert(best, count - 1, order, row << 16 | start_rank << 8 | end_rank)
            if count == size:
                least = best[0, size - 1]
    return count


@kernel
def _in_reach(ends: Array, start: np.int32, max_answer_length: np.uint32) -> int:
    """Which ends are less than `max_answer_length` tokens from `start` on, as bits by rank.

    Few are, and which is hard to predict: this loop has no branch, so it becomes a few vector instructions.
    """
    ranks = np.int32(0)
    for end_rank in range(len(ends)):
        # Unsigned, an end before the start is far away.
        near = np.uint32(np.int32(ends[end_rank] - start)) < max_answer_length
        ranks |= np.int32(np.int32(near) << np.int32(end_rank))
    return np.int64(ranks)


@kernel
def _lowest_bit(bits: int) -> int:
    """The place of the lowest bit that is set: the exponent of that power of two as a float."""
    return (np.float64(bits & -bits).view(np.int64) >> 52) - 1023


@kernel
def _insert(best: Array, place: int, order: int, cell: int) -> None:
    """Move what is worse one place down, from `place` upwards, and fill the gap."""
    while place > 0 and best[0, place - 1] < order:
        best[0, place], best[1, place] = best[0, place - 1], best[1, place - 1]
        place -= 1
    best[0, place], best[1, place] = order, cell


@kernel
def _fill(spans: Array, place: int, records: Records, cell: int, token_rows: Array, offsets: Array) -> None:
    row, start_rank, end_rank = cell >> 16, cell >> 8 & 0xFF, cell & 0xFF
    record, span = records[row], spans[place]
    span.window = row
    span.start_char = offsets[token_rows[row] + record.start_positions[start_rank], 0]
    span.end_char = offsets[token_rows[row] + record.end_positions[end_rank], 1]
    span.start_logit = record.start_logits[start_rank]
    span.end_logit = record.end_logits[end_rank]
    span.score = span.start_logit + span.end_logit


@kernel
def least_nulls(records: Records, bounds: Array, nulls: Array) -> None:
    """Fill `nulls` (num_examples,), an array of CANDIDATE; of equal nulls the first window's is taken.

    Where an example has no window, `nulls` is left as it is.
    """
    for example in range(len(bounds) - 1):
        least = -WORST
        for row in range(bounds[example], bounds[example + 1]):
            record, null = records[row], nulls[example]
            order = _order(record.null_start_logit + record.null_end_logit)
            if order < least:
                least = order
                null.window = row
                null.start_logit, null.end_logit = record.null_start_logit, record.null_end_logit
                null.score = record.null_start_logit + record.null_end_logit


@kernel
def _order(value: np.float32) -> int:
    return int(ordered(np.int64(np.float32(value).view(np.int32))))

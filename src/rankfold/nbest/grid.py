"""The grid of best starts × best ends of every window, searched for each example's best spans."""

from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.nbest.kernels import kernel
from rankfold.nbest.order import INDEX_MASK, NOTHING, key, ordered, unpack_index
from rankfold.nbest.records import MAX_POSITIONS, Records

Array = npt.NDArray[Any]

GOOD, FEW, OUTSIDE, NOT_FINITE, UNORDERED = range(5)
"""What `find_faults` says of a record."""

RANK_BITS = 5
"""A cell of the grid is one integer: window of the example, start rank, end rank, of so many bits."""

LANES = 1 << RANK_BITS
"""Room for every rank, in whole vectors."""

ELSEWHERE = 1 << 30
"""In place of a position that is not context: out of the reach of every other."""

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
    best, places = np.empty(n_best_size, np.int64), np.empty((2, LANES), np.int32)
    longest = np.uint32(min(max(0, max_answer_length), MAX_POSITIONS))
    row_starts[0] = 0
    for example in range(len(bounds) - 1):
        best[:] = NOTHING
        first = bounds[example]
        for row in range(first, bounds[example + 1]):
            tokens = slice(token_rows[row], token_rows[row + 1])
            window = (row - first) << 2 * RANK_BITS
            _search(records[row], window, offsets[tokens], may_start[tokens], longest, places, best)
        count = row_starts[example]
        for found in best:
            if found != NOTHING:
                cell = INDEX_MASK - unpack_index(found)
                _fill(spans[count], first, cell, records, token_rows, offsets)
                count += 1
        row_starts[example + 1] = count


@kernel
def _search(
    record: Any, window: int, offsets: Array, may_start: Array, longest: np.uint32, places: Array, best: Array
) -> None:
    """Put the spans of a window that are good enough among the `best` so far, by their keys.

    Cells come by window, start rank, end rank, so only a greater score takes a place from one before it.
    """
    starts, ends, size = places[0], places[1], len(best)
    num_starts = min(size, record.flags & 0xFF)
    _find_context(record.start_positions, num_starts, offsets, starts)
    _find_context(record.end_positions, min(size, record.flags >> 8 & 0xFF), offsets, ends)
    for start_rank in range(num_starts):
        start, start_logit = starts[start_rank], record.start_logits[start_rank]
        cell = window | start_rank << RANK_BITS
        if _key(start_logit + record.end_logits[0], cell) < best[size - 1]:
            break  # later starts are no better
        if start == ELSEWHERE or (len(may_start) > 0 and not may_start[start]):
            continue
        waiting = _in_reach(ends, start, longest)
        while waiting:
            end_rank = _lowest_bit(waiting)
            waiting &= waiting - 1
            found = _key(start_logit + record.end_logits[end_rank], cell | np.int64(end_rank))
            if found < best[size - 1]:
                break  # later ends of this start are no better
            _insert(best, found)


@kernel
def _find_context(positions: Array, count: int, offsets: Array, found: Array) -> None:
    """Fill `found` with the positions that are context, with ELSEWHERE for all others."""
    for rank in range(count):
        position = np.uint64(positions[rank])
        found[rank] = position if offsets[position, 0] >= 0 else ELSEWHERE
    found[count:] = ELSEWHERE


@kernel
def _in_reach(ends: Array, start: np.int32, longest: np.uint32) -> np.int64:
    """Which ends are less than `longest` tokens from `start` on, a bit for each rank.

    Few are, and which is hard to predict. This loop has no branch and becomes a few vector instructions.
    """
    ranks = np.int32(0)
    for rank in range(len(ends)):
        near = np.uint32(np.int32(ends[rank] - start)) < longest  # unsigned, an end before the start is far
        ranks |= np.int32(np.int32(near) << np.int32(rank))
    return np.int64(ranks)


@kernel
def _lowest_bit(bits: np.int64) -> np.uint64:
    """The place of the lowest bit that is set: the exponent of that power of two as a float."""
    return np.uint64((np.float64(bits & -bits).view(np.int64) >> 52) - 1023)


@kernel
def _key(score: np.float32, cell: Any) -> Any:
    """A span's key, the greater the better: a score beats lower ones, a cell beats later ones."""
    return key(np.int64(np.float32(score).view(np.int32)), INDEX_MASK - cell)


@kernel
def _insert(best: Array, found: int) -> None:
    """Put `found` in its place and drop the last; again without a branch."""
    for place in range(len(best) - 1, 0, -1):
        best[place] = max(best[place], min(best[place - 1], found))
    best[0] = max(best[0], found)


@kernel
def _fill(span: Any, first: int, cell: Any, records: Records, token_rows: Array, offsets: Array) -> None:
    """Fill `span`, of CANDIDATE, from a cell of the example whose windows begin in row `first`."""
    row = first + (cell >> 2 * RANK_BITS)
    start_rank, end_rank = cell >> RANK_BITS & LANES - 1, cell & LANES - 1
    record = records[row]
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

"""From the logits of a batch of windows to their records, as soon as the model has computed them.

Real tokens only: a batch's padding can never change an answer. Question and special tokens are real
and use up places, as in the common SQuAD post-processing.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.errors import NumericalError, UserError
from rankfold.nbest.order import NOTHING, largest, pack, unpack_index
from rankfold.nbest.records import MAX_POSITIONS, WINDOW_RECORD, Records, check_n_best_size, pack_flags

Logits = npt.NDArray[np.float32] | npt.NDArray[np.float16]
Integers = npt.NDArray[np.integer[Any]]


def extract_records(
    start_logits: Logits,
    end_logits: Logits,
    *,
    lengths: Integers,
    first_token: Integers,
    cls_index: Integers,
    window_ids: Integers,
    example_indices: Integers,
    n_best_size: int,
    shard: str,
) -> Records:
    """Keep each window's `n_best_size` best starts and ends and its null logits.

    Equal logits: the higher position first. Positions, in the records and in `cls_index`, count from
    the window's first real token, so they do not depend on the batch's padding or its side.

    Args:
        start_logits: (num_windows, max_length), float32, or float16 which is upcast once, here.
        end_logits: As `start_logits`.
        lengths: (num_windows,), real tokens of each window, at least 1.
        first_token: (num_windows,), column of the first real token: 0 unless padded on the left.
        cls_index: (num_windows,), position of the null: the window's own CLS or BOS token, wherever
            the tokenizer puts it; where it has none, 0, the first real token. Training labels of a
            window without the answer point at the same position.
        window_ids: (num_windows,), number of each window in the data set's order.
        example_indices: (num_windows,), number of each window's example in the data set's order.
        n_best_size: 1 to 20.
        shard: Name of the shard, for errors.

    Raises:
        NumericalError: A real token's logit is NaN or infinite; names the window and the shard.
        UserError: `max_length` or `n_best_size` does not fit into a record.
        ValueError: Shapes, types or positions contradict each other.
    """
    check_n_best_size(n_best_size)
    _check_max_length(start_logits.shape[1])
    lengths, first_token, cls_index = (
        values.astype(np.int64) for values in (lengths, first_token, cls_index)
    )
    _check_windows(start_logits, end_logits, lengths, first_token, cls_index)
    starts = _real_tokens_first(start_logits, first_token)
    ends = _real_tokens_first(end_logits, first_token)
    _check_finite("start", starts, lengths, window_ids, shard)
    _check_finite("end", ends, lengths, window_ids, shard)

    records: Records = np.zeros(len(lengths), dtype=WINDOW_RECORD)
    records["window_id"] = window_ids
    records["example_index"] = example_indices
    count = np.minimum(lengths, n_best_size)
    records["flags"] = pack_flags(count, count)
    _keep_best(records["start_positions"], records["start_logits"], starts, lengths, n_best_size)
    _keep_best(records["end_positions"], records["end_logits"], ends, lengths, n_best_size)
    rows = np.arange(len(lengths))
    records["null_start_logit"] = starts[rows, cls_index]
    records["null_end_logit"] = ends[rows, cls_index]
    return records


def _real_tokens_first(logits: Logits, first_token: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Shift each row left until its first real token is in column 0; what follows the last is junk."""
    max_length = logits.shape[1]
    columns = np.minimum(first_token[:, None] + np.arange(max_length), max_length - 1)
    return np.take_along_axis(logits, columns, axis=1).astype(np.float32)


def _keep_best(
    positions: npt.NDArray[np.uint16],
    kept: npt.NDArray[np.float32],
    logits: npt.NDArray[np.float32],
    lengths: npt.NDArray[np.int64],
    n_best_size: int,
) -> None:
    """Fill the places of `positions` and `kept`, both (num_windows, 20), best first."""
    token = np.arange(logits.shape[1])
    keys = np.where(token < lengths[:, None], pack(logits, token), NOTHING)
    best = largest(keys, n_best_size)
    used = best != NOTHING
    index = np.where(used, unpack_index(best), 0)
    positions[:, : best.shape[1]] = index
    # The logit is looked up rather than unpacked: the key no longer knows -0.0 from 0.0.
    kept[:, : best.shape[1]] = np.where(used, np.take_along_axis(logits, index, axis=1), np.float32(0))


def _check_max_length(max_length: int) -> None:
    if max_length > MAX_POSITIONS:
        raise UserError(
            f"a batch is {max_length} tokens long; a window record has room for {MAX_POSITIONS}",
            where="data.max_length",
            remedy=f"Set it to {MAX_POSITIONS} or less: longer contexts are divided into windows.",
        )


def _check_windows(
    start_logits: Logits,
    end_logits: Logits,
    lengths: npt.NDArray[np.int64],
    first_token: npt.NDArray[np.int64],
    cls_index: npt.NDArray[np.int64],
) -> None:
    allowed = (np.dtype(np.float32), np.dtype(np.float16))
    if start_logits.dtype not in allowed or end_logits.dtype not in allowed:
        raise ValueError(f"logits must be float32 or float16, not {start_logits.dtype}, {end_logits.dtype}")
    if start_logits.shape != end_logits.shape:
        raise ValueError(f"start logits are {start_logits.shape}, end logits are {end_logits.shape}")
    fits = (lengths >= 1) & (first_token >= 0) & (first_token + lengths <= start_logits.shape[1])
    fits &= (cls_index >= 0) & (cls_index < lengths)
    if not fits.all():
        row = int(np.argmin(fits))
        raise ValueError(
            f"row {row} of {start_logits.shape[1]} columns: length {lengths[row]}, "
            f"first_token {first_token[row]} and cls_index {cls_index[row]} do not fit together"
        )


def _check_finite(
    kind: str,
    logits: npt.NDArray[np.float32],
    lengths: npt.NDArray[np.int64],
    window_ids: Integers,
    shard: str,
) -> None:
    broken = ~np.isfinite(logits) & (np.arange(logits.shape[1]) < lengths[:, None])
    if not broken.any():
        return
    row, token = (int(found[0]) for found in np.nonzero(broken))
    others = int(broken.any(axis=1).sum()) - 1
    more = f" ({others} more windows of this batch are affected)" if others else ""
    raise NumericalError(
        f"the {kind} logit of token {token} in window {window_ids[row]} is {logits[row, token]}, "
        f"not a finite number{more}",
        where=shard,
        remedy="Look at the training loss: the model may have diverged. If it trained well, "
        "evaluate it with model.torch_dtype: float32.",
    )

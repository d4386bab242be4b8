"""From the logits of a batch of windows to their records, as soon as the model has computed them.

Real tokens only: a batch's padding can never change an answer. Question and special tokens are real
and use up places, as in the common SQuAD post-processing.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.errors import NumericalError, UserError
from rankfold.nbest.order import keep_best
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
    allowed = (np.dtype(np.float32), np.dtype(np.float16))
    if start_logits.dtype not in allowed or end_logits.dtype not in allowed:
        raise ValueError(f"logits must be float32 or float16, not {start_logits.dtype}, {end_logits.dtype}")
    check_batch(start_logits.shape, end_logits.shape, lengths, first_token, cls_index, n_best_size)
    records = unfilled_records(window_ids, example_indices, lengths, n_best_size)
    # The kernel always gets the same types, as it is compiled for each combination that it meets.
    first, length = first_token.astype(np.int64), lengths.astype(np.int64)
    rows = np.arange(len(records))
    for kind, logits in (("start", start_logits), ("end", end_logits)):
        bits = np.ascontiguousarray(logits, dtype=np.float32).view(np.int32)
        positions = np.zeros((len(bits), n_best_size), dtype=np.uint16)
        kept = np.zeros((len(bits), n_best_size), dtype=np.int32)
        if keep_best(bits, first, length, positions, kept):
            raise not_finite(kind, logits, lengths, first_token, window_ids, shard)
        records[f"{kind}_positions"][:, :n_best_size] = positions
        records[f"{kind}_logits"][:, :n_best_size] = kept.view(np.float32)
        records[f"null_{kind}_logit"] = bits[rows, first + cls_index].view(np.float32)
    return records


def check_batch(
    start_shape: tuple[int, ...],
    end_shape: tuple[int, ...],
    lengths: Integers,
    first_token: Integers,
    cls_index: Integers,
    n_best_size: int,
) -> None:
    """Check what `extract_records` is given, but for the logits themselves.

    Raises:
        UserError: `max_length` or `n_best_size` does not fit into a record.
        ValueError: Shapes or positions contradict each other.
    """
    check_n_best_size(n_best_size)
    if start_shape != end_shape:
        raise ValueError(f"start logits are {start_shape}, end logits are {end_shape}")
    num_windows, max_length = start_shape
    shapes = [values.shape for values in (lengths, first_token, cls_index)]
    if any(shape != (num_windows,) for shape in shapes):  # kernels check no bounds
        raise ValueError(f"{num_windows} windows, but lengths, first_token and cls_index are {shapes}")
    if max_length > MAX_POSITIONS:
        raise UserError(
            f"a batch is {max_length} tokens long; a window record has room for {MAX_POSITIONS}",
            where="data.max_length",
            remedy=f"Set it to {MAX_POSITIONS} or less: longer contexts are divided into windows.",
        )
    fits = (lengths >= 1) & (first_token >= 0) & (first_token + lengths <= max_length)
    fits &= (cls_index >= 0) & (cls_index < lengths)
    if not fits.all():
        row = int(np.argmin(fits))
        raise ValueError(
            f"row {row} of {max_length} columns: length {lengths[row]}, "
            f"first_token {first_token[row]} and cls_index {cls_index[row]} do not fit together"
        )


def unfilled_records(
    window_ids: Integers, example_indices: Integers, lengths: Integers, n_best_size: int
) -> Records:
    """Records that know their numbers and how many places are used; every other byte is zero."""
    records: Records = np.zeros(len(lengths), dtype=WINDOW_RECORD)
    records["window_id"] = window_ids
    records["example_index"] = example_indices
    count = np.minimum(lengths, n_best_size).astype(np.int64)
    records["flags"] = pack_flags(count, count)
    return records


def not_finite(
    kind: str, logits: Logits, lengths: Integers, first_token: Integers, window_ids: Integers, shard: str
) -> NumericalError:
    """The error about logits of which a real token's is NaN or infinite; `kind` is "start" or "end"."""
    tokens = np.arange(logits.shape[1]) - first_token[:, None]
    broken = ~np.isfinite(logits) & (tokens >= 0) & (tokens < lengths[:, None])
    row, column = (int(found[0]) for found in np.nonzero(broken))
    others = int(broken.any(axis=1).sum()) - 1
    more = f" ({others} more windows of this batch are affected)" if others else ""
    return NumericalError(
        f"the {kind} logit of token {tokens[row, column]} in window {window_ids[row]} is "
        f"{logits[row, column]}, not a finite number{more}",
        where=shard,
        remedy="Look at the training loss: the model may have diverged. If it trained well, "
        "evaluate it with model.torch_dtype: float32.",
    )

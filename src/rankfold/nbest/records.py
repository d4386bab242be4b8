"""What is kept of a window of tokens: its best starts and ends and its null, in 264 bytes."""

import numpy as np
import numpy.typing as npt

from rankfold.errors import ShardError, UserError

MAX_N_BEST_SIZE = 20
"""Places for starts and for ends in a record; a smaller n-best leaves places unused."""

MAX_POSITIONS = 1 << 16
"""Positions are u16: a window may have this many tokens."""

WINDOW_RECORD = np.dtype(
    [
        ("window_id", "<u8"),
        ("example_index", "<u4"),
        ("flags", "<u4"),  # bits 0-7: number of starts; bits 8-15: number of ends
        ("start_positions", "<u2", (MAX_N_BEST_SIZE,)),  # best first, from the first real token
        ("end_positions", "<u2", (MAX_N_BEST_SIZE,)),
        ("start_logits", "<f4", (MAX_N_BEST_SIZE,)),
        ("end_logits", "<f4", (MAX_N_BEST_SIZE,)),
        ("null_start_logit", "<f4"),
        ("null_end_logit", "<f4"),
    ]
)
"""One window. Unused places are zero, so equal records are equal bytes."""

Records = npt.NDArray[np.void]
"""An array of WINDOW_RECORD, shape (num_windows,)."""


def check_n_best_size(n_best_size: int) -> None:
    """Raise UserError unless a record has so many places."""
    if not 1 <= n_best_size <= MAX_N_BEST_SIZE:
        raise UserError(
            f"n_best_size is {n_best_size}; a window record holds 1 to {MAX_N_BEST_SIZE}",
            where="evaluation.n_best_size",
            remedy=f"Set it to a number from 1 to {MAX_N_BEST_SIZE}.",
        )


def pack_flags(num_starts: npt.NDArray[np.int64], num_ends: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Number of used places of starts and ends, shape (num_windows,), as the field `flags`."""
    return (num_starts | num_ends << 8).astype(np.uint32)


def num_starts(records: Records) -> npt.NDArray[np.int64]:
    """Number of used places of starts, shape (num_windows,)."""
    return records["flags"].astype(np.int64) & 0xFF


def num_ends(records: Records) -> npt.NDArray[np.int64]:
    """Number of used places of ends, shape (num_windows,)."""
    return records["flags"].astype(np.int64) >> 8 & 0xFF


def records_to_bytes(records: Records) -> bytes:
    """The payload of a work unit: the records one after another, little-endian."""
    return records.astype(WINDOW_RECORD, copy=False).tobytes()


def records_from_bytes(payload: bytes, *, where: str) -> Records:
    """Read a payload back, shape (num_windows,); `where` names the work unit in an error.

    Raises:
        ShardError: The payload is not a whole number of records.
    """
    if len(payload) % WINDOW_RECORD.itemsize:
        raise ShardError(
            f"{len(payload)} bytes are not a whole number of {WINDOW_RECORD.itemsize}-byte records",
            where=where,
            remedy="Delete this unit's manifest, then run `launch resume RUN`.",
        )
    return np.frombuffer(payload, dtype=WINDOW_RECORD)

"""What is kept of a window of tagged tokens: the entities it claims, 28 bytes each."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from rankfold.errors import ShardError

Integers = npt.NDArray[np.int64]

PREDICTED = 1
"""Flag of a span that the decoding of the window's tags gave."""

CANDIDATE = 2
"""Flag of a span among the window's n best."""

ENTITY_RECORD = np.dtype(
    [
        ("window_id", "<u8"),
        ("example_index", "<u4"),
        ("start_char", "<u4"),
        ("end_char", "<u4"),
        ("score", "<f4"),
        ("label", "<u2"),
        ("flags", "<u2"),  # bit 0: predicted; bit 1: candidate; bits 8-15: n_best_size of the window
    ]
)
"""A labelled span whose first token its window owns, so that no other window can claim it.

`score` is the log-probability that exactly this span is an entity, `label` counts the data set's labels
from 0. The records of a window stand best first, in the order of `best_first`.
"""

EntityRecords = npt.NDArray[np.void]
"""An array of ENTITY_RECORD, shape (num_spans,)."""


def pack_flags(marks: Integers, n_best_size: int) -> npt.NDArray[np.uint16]:
    """PREDICTED and CANDIDATE with the n-best size they were found with, as the field `flags`."""
    return (marks | n_best_size << 8).astype(np.uint16)


def check_n_best_size(records: EntityRecords, n_best_size: int) -> None:
    """Raise ShardError where fewer candidates than `n_best_size` were kept."""
    kept = int((records["flags"] >> 8).min(initial=n_best_size))
    if kept < n_best_size:
        raise ShardError(
            f"n_best_size is {n_best_size}, but the records keep {kept} spans of a window",
            remedy=f"Set evaluation.n_best_size to {kept} or less, or evaluate again.",
        )


def best_first(records: EntityRecords, group: str) -> EntityRecords:
    """Sort by the field `group`, then in the one order of spans: score descending, start, end, label."""
    keys = (records["label"], records["end_char"], records["start_char"], -records["score"], records[group])
    ordered: EntityRecords = records[np.lexsort(keys)]
    return ordered


def entity_records_to_bytes(records: EntityRecords) -> bytes:
    """The payload of a work unit: the records one after another, little-endian."""
    return records.astype(ENTITY_RECORD, copy=False).tobytes()


def entity_records_from_bytes(payloads: Iterable[bytes]) -> EntityRecords:
    """Read payloads back, one after another.

    Raises:
        ShardError: A payload is not a whole number of records.
    """
    parts = [np.empty(0, ENTITY_RECORD)]
    for number, payload in enumerate(payloads):
        if len(payload) % ENTITY_RECORD.itemsize:
            raise ShardError(
                f"{len(payload)} bytes are not a whole number of {ENTITY_RECORD.itemsize}-byte records",
                where=f"payload {number}",
                remedy="Delete this unit's manifest, then run `launch resume RUN`.",
            )
        parts.append(np.frombuffer(payload, dtype=ENTITY_RECORD))
    return np.concatenate(parts)

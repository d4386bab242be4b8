"""Generated sequences as the payload of a work unit: an Arrow table, one row a sequence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from rankfold.entities.candidates import ScoredSequence
from rankfold.errors import NumericalError
from rankfold.evaluation.work import UnitWork

if TYPE_CHECKING:
    # Read to merge too, where nothing needs the model that generated.
    from rankfold.evaluation.generation import GeneratedSequence

_SCHEMA = pa.schema(
    [
        ("example", pa.uint32()),
        ("sequence", pa.uint16()),
        ("text", pa.string()),
        ("log_probability", pa.float64()),
        ("num_tokens", pa.uint32()),
        ("finished", pa.bool_()),
    ]
)


def sequences_to_bytes(sequences: Iterable[GeneratedSequence], *, first_example: int) -> bytes:
    """Write sequences in the order of their prompts; prompt 0 belongs to `first_example`."""
    ordered = sorted(sequences, key=lambda sequence: (sequence.prompt, sequence.index))
    rows = [
        {
            "example": first_example + sequence.prompt,
            "sequence": sequence.index,
            "text": sequence.text,
            "log_probability": sequence.log_probability,
            "num_tokens": sequence.num_tokens,
            "finished": sequence.finished,
        }
        for sequence in ordered
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
    return bytes(sink.getvalue().to_pybytes())


def sequences_by_example(payloads: Iterable[bytes]) -> dict[int, Sequence[ScoredSequence]]:
    """Read payloads back: example → its sequences by index."""
    found: dict[int, list[ScoredSequence]] = {}
    for payload in payloads:
        for row in pa.ipc.open_file(pa.BufferReader(payload)).read_all().to_pylist():
            sequence = ScoredSequence(row["text"], row["log_probability"], row["sequence"])
            found.setdefault(row["example"], []).append(sequence)
    return {example: found[example] for example in sorted(found)}


def check_finite(sequences: Iterable[GeneratedSequence], work: UnitWork) -> None:
    """Raise NumericalError where a sequence's log-probability is no number; names the text and the shard."""
    for sequence in sequences:
        if not math.isfinite(sequence.log_probability):
            text = work.unit.start + sequence.prompt
            raise NumericalError(
                f"the log-probability of sequence {sequence.index} of text {text} "
                f"is {sequence.log_probability}, not a finite number",
                where=work.shard,
                remedy="Look at the training loss: the model may have diverged. If it trained well, "
                "evaluate it with model.torch_dtype: float32.",
            )

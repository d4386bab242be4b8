"""The lines of `predictions.json` and `nbest.jsonl`, straight from columns."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from json.encoder import encode_basestring as encode
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rankfold.data.examples import QuestionExample
from rankfold.nbest.escapes import TextColumn, escaped_slices, escaped_texts, text_column
from rankfold.nbest.finalise import Answers
from rankfold.nbest.kernels import kernel
from rankfold.nbest.predictions import check_examples

Array = npt.NDArray[Any]

_LINE = text_column(['{"id": "', '", "nbest": [', "]}\n"])
"""Before an id, after it, and after the candidates."""

_NAMES = text_column(
    [
        '{"text": "',
        '", "start": ',
        ', "end": ',
        ', "probability": ',
        ', "score": ',
        ', "start_logit": ',
        ', "end_logit": ',
        "}, ",
    ]
)
"""Before each of a candidate's columns, and after them; the last candidate has no comma."""

_COMMA = len(", ")


def prediction_lines(texts: Iterable[str], examples: Sequence[QuestionExample]) -> bytes:
    """One member of the object in `predictions.json` a line, `"id": "text"`."""
    pairs = zip(examples, texts, strict=True)
    return "".join([f"{encode(example.id)}: {encode(text)}\n" for example, text in pairs]).encode()


def nbest_lines(answers: Answers, examples: Sequence[QuestionExample]) -> bytes:
    """One JSON object an example: its id and its candidates, best first.

    A candidate has text, start and end (characters, null for the null), probability, score, start_logit
    and end_logit. Numbers are the shortest that read back as the same float64, which holds every float32.

    Raises:
        ValueError: `examples` are not those of the answers, or a number is NaN or infinite.
    """
    check_examples(answers, examples)
    ids = escaped_texts([example.id for example in examples])
    columns = _columns(answers, examples)
    num_bytes = len(examples) * len(_LINE.content) + len(answers.nbest) * len(_NAMES.content)
    num_bytes += sum(column.num_bytes for column in (ids, *columns))
    num_bytes -= _COMMA * int(np.count_nonzero(np.diff(answers.row_starts)))
    lines = BytesIO(bytes(num_bytes))
    # Written where it lies: the stream is the only owner of its bytes, and hands them out without a copy.
    with lines.getbuffer() as buffer:
        _write(_LINE, ids, _NAMES, columns, answers.row_starts, np.frombuffer(buffer, np.uint8))
    return lines.getvalue()


def _columns(answers: Answers, examples: Sequence[QuestionExample]) -> tuple[TextColumn, ...]:
    """The values of every candidate, in the order of their names."""
    nbest = answers.nbest
    starts, ends = nbest["start_char"].copy(), nbest["end_char"].copy()
    return (
        escaped_slices([example.context for example in examples], answers.row_starts, starts, ends),
        _integers(starts),
        _integers(ends),
        _reals(answers.probabilities),
        _reals(nbest["score"]),
        _reals(nbest["start_logit"]),
        _reals(nbest["end_logit"]),
    )


@kernel
def _write(
    line: TextColumn,
    ids: TextColumn,
    names: TextColumn,
    columns: tuple[TextColumn, ...],
    row_starts: Array,
    written: Array,
) -> None:
    """Fill `written` with a line an example, the rows of `columns` between what all lines have."""
    # By name: what is taken from a tuple by a number is counted as one more owner of its arrays.
    texts, starts, ends, probabilities, scores, start_logits, end_logits = columns
    end = np.uint64(0)
    for example in range(len(row_starts) - 1):
        end = _append(written, end, line, 0)
        end = _append(written, end, ids, example)
        end = _append(written, end, line, 1)
        for row in range(row_starts[example], row_starts[example + 1]):
            end = _append(written, _append(written, end, names, 0), texts, row)
            end = _append(written, _append(written, end, names, 1), starts, row)
            end = _append(written, _append(written, end, names, 2), ends, row)
            end = _append(written, _append(written, end, names, 3), probabilities, row)
            end = _append(written, _append(written, end, names, 4), scores, row)
            end = _append(written, _append(written, end, names, 5), start_logits, row)
            end = _append(written, _append(written, end, names, 6), end_logits, row)
            end = _append(written, end, names, 7)
        if row_starts[example + 1] > row_starts[example]:
            end -= np.uint64(_COMMA)
        end = _append(written, end, line, 2)


@kernel
def _append(written: Array, end: Any, column: TextColumn, row: int) -> Any:
    """Copy a row's text behind byte `end`; return the new end."""
    # Unsigned: a signed index may be negative and count from the end, which is checked at every byte.
    first, end = np.uint64(column.firsts[row]), np.uint64(end)
    size = np.uint64(column.stops[row]) - first
    for byte in range(size):
        written[end + byte] = column.content[first + byte]
    return end + size


def _integers(values: npt.NDArray[np.int32]) -> TextColumn:
    """Numbers from 0 on, of which there are few different ones; negative ones are written as null."""
    content, offsets = _cast(np.arange(values.max(initial=-1) + 1, dtype=np.int32), pa.int32())
    null = np.frombuffer(b"null", np.uint8)
    offsets = np.concatenate([[0], offsets + len(null)])
    places = np.maximum(values, -1) + 1
    return TextColumn.of(np.concatenate([null, content]), offsets[places], offsets[places + 1])


def _reals(values: npt.NDArray[Any]) -> TextColumn:
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN and infinity cannot be written as JSON")
    content, offsets = _cast(values, pa.float64())
    whole = values == np.trunc(values)
    if not whole.any():
        return TextColumn.of(content, offsets[:-1], offsets[1:])
    pointed, pointed_offsets = np.empty(len(content) + 2 * len(values), np.uint8), np.zeros_like(offsets)
    _add_points(content, offsets, whole, pointed, pointed_offsets)
    return TextColumn.of(pointed, pointed_offsets[:-1], pointed_offsets[1:])


def _cast(values: Array, data_type: pa.DataType) -> tuple[Array, Array]:
    """What Arrow writes for numbers, and where each begins in it."""
    # pa.array imports pandas first, which takes a second; this does not.
    column = pa.Array.from_buffers(data_type, len(values), [None, pa.py_buffer(values)])
    _, offsets, content = pc.cast(column, pa.large_string()).buffers()
    return np.frombuffer(content, np.uint8), np.frombuffer(offsets, np.int64, len(values) + 1)


@kernel
def _add_points(content: Array, offsets: Array, whole: Array, pointed: Array, pointed_offsets: Array) -> None:
    """Copy numbers, and write ".0" behind whole ones without an exponent.

    Arrow writes 1.0 as "1" and -0.0 as "-0", which read back as integers, and those have no -0.
    """
    end = 0
    for row in range(len(whole)):
        bare = whole[row]
        for byte in content[offsets[row] : offsets[row + 1]]:
            bare &= byte != ord("e")
            pointed[end] = byte
            end += 1
        if bare:
            pointed[end], pointed[end + 1] = ord("."), ord("0")
            end += 2
        pointed_offsets[row + 1] = end

"""The lines of `predictions.json` and `nbest.jsonl`, straight from columns."""

from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring as encode
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rankfold.data.examples import QuestionExample
from rankfold.nbest.escapes import escaped_slices, text_column
from rankfold.nbest.finalise import Answers
from rankfold.nbest.predictions import check_examples


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
    ids = text_column([encode(example.id) for example in examples])
    lists = pa.LargeListArray.from_arrays(
        _column(answers.row_starts, pa.int64()), _candidates(answers, examples)
    )
    lines = _joined('{"id": ', ids, ', "nbest": [', pc.binary_join(lists, _everywhere(", ")), "]}\n")
    _, offsets, content = lines.buffers()
    num_bytes = int(np.frombuffer(offsets, np.int64, len(lines) + 1)[-1])
    written: bytes = content.slice(0, num_bytes).to_pybytes()
    return written


def _candidates(answers: Answers, examples: Sequence[QuestionExample]) -> pa.Array:
    nbest = answers.nbest
    starts, ends = nbest["start_char"].copy(), nbest["end_char"].copy()
    contexts = [example.context for example in examples]
    return _joined(
        '{"text": "',
        escaped_slices(contexts, answers.row_starts, starts, ends),
        '", "start": ',
        _integers(starts),
        ', "end": ',
        _integers(ends),
        ', "probability": ',
        _reals(answers.probabilities),
        ', "score": ',
        _reals(nbest["score"]),
        ', "start_logit": ',
        _reals(nbest["start_logit"]),
        ', "end_logit": ',
        _reals(nbest["end_logit"]),
        "}",
    )


def _joined(*columns: pa.Array | str) -> pa.Array:
    """The columns side by side, as one column of text; text stands in every row."""
    return pc.binary_join_element_wise(
        *(_everywhere(column) if isinstance(column, str) else column for column in columns), _everywhere("")
    )


def _everywhere(text: str) -> pa.Scalar:
    return text_column([text])[0]


def _integers(values: npt.NDArray[np.int32]) -> pa.Array:
    """Negative numbers are written as null."""
    written = pc.cast(_column(values, pa.int32()), pa.large_string())
    return pc.if_else(_mask(values < 0), _everywhere("null"), written)


def _reals(values: npt.NDArray[Any]) -> pa.Array:
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN and infinity cannot be written as JSON")
    written = pc.cast(_column(values, pa.float64()), pa.large_string())
    whole = values == np.trunc(values)
    if not whole.any():
        return written
    # Arrow writes 1.0 as "1" and -0.0 as "-0", which read back as integers, and those have no -0.
    bare = pc.and_not(_mask(whole), pc.match_substring(written, "e"))
    return pc.if_else(bare, _joined(written, ".0"), written)


# pa.array and pa.scalar import pandas first, which takes a second; these do not.


def _column(values: npt.NDArray[Any], data_type: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(data_type, len(values), [None, pa.py_buffer(values)])


def _mask(values: npt.NDArray[np.bool_]) -> pa.Array:
    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])

"""Slices of JSON strings: what escaping every slice of a text gives, from escaping the text once.

JSON escapes each character by itself, so a slice's escape is a slice of the text's escape, between the
bytes at which its characters begin there. Those have to be counted: some characters become two bytes,
some six.
"""

from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rankfold.nbest.kernels import kernel

Array = npt.NDArray[Any]

_BACKSLASH, _U = np.uint8(ord("\\")), np.uint8(ord("u"))


def escaped_slices(texts: Sequence[str], row_starts: Array, starts: Array, ends: Array) -> pa.Array:
    """The inside of the JSON string of `text[start:end]`, (num_slices,), as Arrow's large_string.

    Characters beyond ASCII are written as they are. A slice with a negative start is "".

    Args:
        texts: (num_texts,).
        row_starts: (num_texts + 1,), where the slices of each text begin.
        starts: (num_slices,), characters.
        ends: (num_slices,), characters, exclusive.

    Raises:
        UnicodeEncodeError: A text holds half of a surrogate pair, which UTF-8 cannot.
    """
    content, offsets = _joined([encode_basestring(text) for text in texts])
    firsts, slice_offsets = np.empty(len(starts), np.int64), np.zeros(len(starts) + 1, np.int64)
    _find_slices(content, offsets, row_starts, starts, ends, firsts, slice_offsets)
    copied = np.empty(slice_offsets[-1], np.uint8)
    _copy_slices(content, firsts, slice_offsets, copied)
    return pa.LargeStringArray.from_buffers(len(starts), pa.py_buffer(slice_offsets), pa.py_buffer(copied))


def text_column(texts: Sequence[str]) -> pa.Array:
    """As pa.array, which imports pandas first, and that takes a second, does."""
    content, offsets = _joined(texts)
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(content))


def _joined(texts: Sequence[str]) -> tuple[Array, Array]:
    """All texts as UTF-8, and where each begins in it, (num_texts + 1,)."""
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


@kernel
def _find_slices(
    content: Array,
    offsets: Array,
    row_starts: Array,
    starts: Array,
    ends: Array,
    firsts: Array,
    slice_offsets: Array,
) -> None:
    """Fill `firsts` with the byte each slice begins at, `slice_offsets` with the running sum of lengths."""
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    places = np.empty(longest + 1, np.int64)
    for text in range(len(offsets) - 1):
        length = _find_characters(content, offsets[text] + 1, offsets[text + 1] - 1, places)
        for row in range(row_starts[text], row_starts[text + 1]):
            start = max(0, min(starts[row], length))
            end = max(start, min(ends[row], length))
            firsts[row] = places[start]
            slice_offsets[row + 1] = slice_offsets[row] + places[end] - places[start]


@kernel
def _find_characters(content: Array, first: int, stop: int, places: Array) -> int:
    """Fill `places` with the byte each character begins at, and the end; return their number."""
    count, byte = 0, first
    while byte < stop:
        places[count] = byte
        count += 1
        lead = content[byte]
        if lead == _BACKSLASH:
            byte += 6 if content[byte + 1] == _U else 2
        else:
            byte += 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)  # bytes of UTF-8
    places[count] = stop
    return count


@kernel
def _copy_slices(content: Array, firsts: Array, slice_offsets: Array, copied: Array) -> None:
    for row in range(len(firsts)):
        for byte in range(slice_offsets[row + 1] - slice_offsets[row]):
            copied[slice_offsets[row] + byte] = content[firsts[row] + byte]

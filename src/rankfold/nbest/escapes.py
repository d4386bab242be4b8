"""Text in columns, as kernels copy it; and slices of JSON strings, from escaping each text once.

JSON escapes each character by itself, so a slice's escape is a slice of the text's escape, between the
bytes at which its characters begin there. Those have to be counted: some characters become two bytes,
some six.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rankfold.nbest.kernels import kernel

Array = npt.NDArray[Any]

_QUOTE, _BACKSLASH, _SPACE = ord('"'), ord("\\"), ord(" ")


def _escapes() -> Array:
    """(256, 6), what stands for each byte, which is the byte itself but for those that JSON escapes."""
    escapes = np.zeros((256, 6), np.uint8)
    escapes[:, 0] = np.arange(256)
    short = {_QUOTE: '"', _BACKSLASH: "\\", 8: "b", 9: "t", 10: "n", 12: "f", 13: "r"}
    for byte in [*range(_SPACE), _QUOTE, _BACKSLASH]:
        escape = f"\\{short[byte]}" if byte in short else f"\\u{byte:04x}"
        escapes[byte, : len(escape)] = list(escape.encode())
    return escapes


_ESCAPES = _escapes()
_SIZES = np.count_nonzero(_ESCAPES, axis=1)
"""(256,), bytes of each escape, none of which is zero."""


class TextColumn(NamedTuple):
    """One text a row: that of row `r` is `content[firsts[r]:stops[r]]`; rows may share bytes.

    Attributes:
        content: uint8, UTF-8.
        firsts: (num_rows,), int64, the first byte of each text.
        stops: (num_rows,), int64, the byte after its last.
    """

    content: Array
    firsts: Array
    stops: Array

    @classmethod
    def of(cls, content: Array, firsts: Array, stops: Array) -> "TextColumn":
        """Read-only, which gives kernels one type to be compiled for."""
        parts = [part.view() for part in (content, firsts, stops)]
        for part in parts:
            part.flags.writeable = False
        return cls(*parts)

    @property
    def num_bytes(self) -> int:
        """Of all rows together."""
        return int(self.stops.sum() - self.firsts.sum())


def text_column(texts: Sequence[str]) -> TextColumn:
    """The texts as they are.

    Raises:
        UnicodeEncodeError: A text holds half of a surrogate pair, which UTF-8 cannot.
    """
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
    return TextColumn.of(np.frombuffer(b"".join(encoded), np.uint8), offsets[:-1], offsets[1:])


def escaped_texts(texts: Sequence[str]) -> TextColumn:
    """The inside of the JSON string of each text; errors as `text_column`."""
    starts = np.zeros(len(texts), np.int32)
    return escaped_slices(texts, np.arange(len(texts) + 1), starts, starts + np.iinfo(np.int32).max)


def escaped_slices(texts: Sequence[str], row_starts: Array, starts: Array, ends: Array) -> TextColumn:
    """The inside of the JSON string of `text[start:end]`, (num_slices,); errors as `text_column`.

    Characters beyond ASCII are written as they are. A slice with a negative start is "".

    Args:
        texts: (num_texts,).
        row_starts: (num_texts + 1,), where the slices of each text begin.
        starts: (num_slices,), characters.
        ends: (num_slices,), characters, exclusive.
    """
    column = text_column(texts)
    # Far too large in nearly all cases, but memory that is not written to takes none.
    escaped = np.empty(_ESCAPES.shape[1] * len(column.content), np.uint8)
    firsts, stops = np.empty(len(starts), np.int64), np.empty(len(starts), np.int64)
    _escape(column, row_starts, starts, ends, _ESCAPES, _SIZES, escaped, firsts, stops)
    return TextColumn.of(escaped, firsts, stops)


@kernel
def _escape(
    texts: TextColumn,
    row_starts: Array,
    starts: Array,
    ends: Array,
    escapes: Array,
    sizes: Array,
    escaped: Array,
    firsts: Array,
    stops: Array,
) -> None:
    """Fill `escaped` with all texts, `firsts` and `stops` with the places of the slices in it."""
    longest = 0
    for text in range(len(texts.firsts)):
        longest = max(longest, texts.stops[text] - texts.firsts[text])
    characters = np.empty(longest + 1, np.int64)
    end = 0
    for text in range(len(texts.firsts)):
        content = texts.content[texts.firsts[text] : texts.stops[text]]
        end, length = _escape_text(content, escapes, sizes, escaped, end, characters)
        for row in range(row_starts[text], row_starts[text + 1]):
            start = max(0, min(starts[row], length))
            firsts[row] = characters[start]
            stops[row] = characters[max(start, min(ends[row], length))]


@kernel
def _escape_text(
    content: Array, escapes: Array, sizes: Array, escaped: Array, first: int, characters: Array
) -> tuple[Any, Any]:
    """Write a text from byte `first` on; return where it ends, and the number of its `characters`.

    These are filled with the byte at which each begins. Indices are unsigned: a signed one may be
    negative and count from the end, which is checked at every byte.
    """
    end, count = np.uint64(first), np.uint64(0)
    for byte in content:
        characters[count] = end
        count += np.uint64((byte & 0xC0) != 0x80)  # in UTF-8, other bytes continue a character
        escaped[end] = escapes[byte, 0]
        for part in range(np.uint64(1), np.uint64(sizes[byte])):
            escaped[end + part] = escapes[byte, part]
        end += np.uint64(sizes[byte])
    characters[count] = end
    return np.int64(end), np.int64(count)

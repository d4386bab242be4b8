"""Dividing texts into overlapping windows that fit a model, and their tokens into those that carry tags.

A token carries a tag unless it shows no character of its own: only white space, only what the next token
shows too (SentencePiece's mark of a word's beginning), or more bytes of a character that the token before
it began. Without `label_all_tokens`, only the first token of a word does. The characters of the tokens that
carry none belong to the carrier beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from rankfold.data.windows import encode_windows
from rankfold.errors import DataError
from rankfold.recipe.schema import Data

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TextWindow:
    """One stretch of a text.

    Attributes:
        model_inputs: What the model wants besides the attention mask, one int a token.
        positions: The tokens of the window that carry tags, ascending.
        first: Place of the first of these among the carriers of the text.
        own_start: Place in `positions` of the first token that this window owns.
        own_stop: Place in `positions` behind the last token that this window owns.
    """

    model_inputs: dict[str, list[int]]
    positions: list[int]
    first: int
    own_start: int
    own_stop: int


@dataclass(frozen=True)
class WindowedText:
    """A text's carriers of tags and the windows that show them, at least one.

    Attributes:
        starts: First character of each carrier, strictly ascending.
        ends: Character after each carrier and what belongs to it, strictly ascending.
        windows: From the beginning of the text to its end.
    """

    starts: list[int]
    ends: list[int]
    windows: list[TextWindow]


@dataclass(frozen=True)
class _Tokens:
    """The tokens of a window without its special tokens: position, characters, word if it is in one."""

    positions: list[int]
    offsets: list[tuple[int, int]]
    words: list[int | None]


def window_texts(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, data: Data
) -> Iterator[WindowedText]:
    """Tokenise every text into windows of `max_length` tokens that share `doc_stride` tokens.

    Raises:
        DataError: `max_length` leaves no more room than `doc_stride` needs.
    """
    _check_room(tokenizer, data)
    encoded = encode_windows(tokenizer, texts, truncation="longest_first", data=data)
    owners = encoded.pop("overflow_to_sample_mapping")
    offsets = encoded.pop("offset_mapping")
    for text, group in groupby(range(len(owners)), key=owners.__getitem__):
        rows = list(group)
        inputs = [{name: values[row] for name, values in encoded.items()} for row in rows]
        parts = [_tokens(encoded, offsets, row) for row in rows]
        yield _windowed(texts[text], inputs, parts, data)


def owned_tokens(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the tokens each window owns: no other shows them with more context.

    The context of a token is how many tokens the window shows to its left or to its right, whichever is
    less (SQuAD's rule); of two windows that show as much the first one owns it.

    Args:
        stretches: The tokens of a text that each window shows, start inclusive and stop exclusive, both
            ascending, with none left out. What a window owns is one stretch then, too.
    """
    most = np.full(stretches[-1][1], -1)
    owner = np.zeros_like(most)
    for window, (start, stop) in enumerate(stretches):
        place = np.arange(stop - start)
        context = np.minimum(place, place[::-1])
        more = context > most[start:stop]
        owner[start:stop][more] = window
        most[start:stop][more] = context[more]
    windows = np.arange(len(stretches))
    starts, stops = (np.searchsorted(owner, windows, side) for side in ("left", "right"))
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _tokens(encoded: Any, offsets: Sequence[Sequence[tuple[int, int]]], row: int) -> _Tokens:
    positions = [index for index, sequence in enumerate(encoded.sequence_ids(row)) if sequence == 0]
    words = encoded.word_ids(row)
    return _Tokens(
        positions, [offsets[row][index] for index in positions], [words[index] for index in positions]
    )


def _windowed(
    text: str, inputs: Sequence[dict[str, list[int]]], parts: Sequence[_Tokens], data: Data
) -> WindowedText:
    # All windows but the last are full, and each begins with tokens that the one before has shown.
    step = len(parts[0].positions) - data.doc_stride
    stretches = [(step * index, step * index + len(part.positions)) for index, part in enumerate(parts)]
    new = [(part, slice(data.doc_stride if index else 0, None)) for index, part in enumerate(parts)]
    carriers, char_starts, char_ends = _carriers(
        text,
        [offset for part, unseen in new for offset in part.offsets[unseen]],
        [word for part, unseen in new for word in part.words[unseen]],
        every_token=data.label_all_tokens,
    )
    windows = []
    for index, (shown, owned) in enumerate(zip(stretches, owned_tokens(stretches), strict=True)):
        first, stop, own_start, own_stop = np.searchsorted(carriers, [*shown, *owned]).tolist()
        positions = [parts[index].positions[token - shown[0]] for token in carriers[first:stop]]
        windows.append(TextWindow(inputs[index], positions, first, own_start - first, own_stop - first))
    return WindowedText(char_starts, char_ends, windows)


def _carriers(
    text: str, offsets: Sequence[tuple[int, int]], words: Sequence[int | None], *, every_token: bool
) -> tuple[list[int], list[int], list[int]]:
    """Return the tokens that carry tags, their first characters, and the characters behind them."""
    carriers: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    for token, (start, end) in enumerate(offsets):
        start, end = _without_white_space(text, start, end)
        if start == end:
            continue
        word = words[token]
        same_word = bool(carriers) and word is not None and word == words[carriers[-1]]
        if carriers and (start < ends[-1] or (same_word and not every_token)):
            if start == starts[-1] and end > ends[-1]:
                carriers[-1] = token
            ends[-1] = max(ends[-1], end)
        else:
            carriers.append(token)
            starts.append(start)
            ends.append(end)
    return carriers, starts, ends


def _without_white_space(text: str, start: int, end: int) -> tuple[int, int]:
    """Byte-level tokenizers count the space before a word to its first token."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _check_room(tokenizer: PreTrainedTokenizerBase, data: Data) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=False)
    room = data.max_length - special
    if room <= data.doc_stride:
        raise DataError(
            f"max_length {data.max_length} leaves {room} tokens for text beside {special} special tokens, "
            f"and windows cannot share doc_stride {data.doc_stride} of them",
            where="data.doc_stride",
            remedy=f"Set data.doc_stride below {max(room, 1)}, or raise data.max_length.",
        )

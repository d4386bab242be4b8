"""Tokenising texts and pairs of texts that are cut where they are too long, never divided into windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rankfold.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class EncodedTexts:
    """Texts as a model gets them.

    Attributes:
        model_inputs: Name → one list of ints a text, one int a token; without the attention mask.
        is_truncated: Whether a text, or a pair, lost tokens to max_length.
    """

    model_inputs: dict[str, list[list[int]]]
    is_truncated: list[bool]


def encode_texts(
    texts: Sequence[str],
    pairs: Sequence[str | None],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> EncodedTexts:
    """Tokenise each text, with its pair where it has one; of a pair that is too long the longer side is cut.

    Raises:
        DataError: `max_length` leaves no room for a token of a text.
    """
    inputs: dict[str, list[list[int]]] = {}
    is_truncated = [False] * len(texts)
    for with_pair in (False, True):
        rows = [row for row, pair in enumerate(pairs) if (pair is not None) == with_pair]
        if not rows:
            continue
        _check_room(tokenizer, max_length, with_pair=with_pair)
        encoded = _encode(texts, pairs, rows, tokenizer, None)
        cut = [row for row, ids in zip(rows, encoded["input_ids"], strict=True) if len(ids) > max_length]
        _place(inputs, encoded, rows, len(texts))
        if cut:
            # Only these are tokenised twice: what truncates does not say which texts it cut.
            _place(inputs, _encode(texts, pairs, cut, tokenizer, max_length), cut, len(texts))
        for row in cut:
            is_truncated[row] = True
    return EncodedTexts(inputs or {"input_ids": []}, is_truncated)


def _encode(
    texts: Sequence[str],
    pairs: Sequence[str | None],
    rows: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
) -> dict[str, list[list[int]]]:
    encoded = tokenizer(
        [texts[row] for row in rows],
        [pairs[row] for row in rows] if pairs[rows[0]] is not None else None,
        truncation="longest_first" if max_length else False,
        max_length=max_length,
        return_attention_mask=False,
        verbose=False,
    )
    inputs: dict[str, list[list[int]]] = dict(encoded)
    if not all(inputs["input_ids"]):
        # A tokenizer without special tokens leaves nothing of an empty text, and a model needs a token.
        blank = {name: [0] for name in inputs} | {"input_ids": [int(tokenizer.pad_token_id)]}
        inputs = {name: [ids or blank[name] for ids in column] for name, column in inputs.items()}
    return inputs


def _place(
    inputs: dict[str, list[list[int]]], encoded: dict[str, list[list[int]]], rows: Sequence[int], size: int
) -> None:
    for name, column in encoded.items():
        target = inputs.setdefault(name, [[] for _ in range(size)])
        for row, ids in zip(rows, column, strict=True):
            target[row] = ids


def _check_room(tokenizer: PreTrainedTokenizerBase, max_length: int, *, with_pair: bool) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=with_pair)
    needed = special + 1 + with_pair
    if max_length < needed:
        raise DataError(
            f"max_length {max_length} leaves no room for a text beside {special} special tokens",
            where="data.max_length",
            remedy=f"Set data.max_length to {needed} at least; 64 to 512 is usual.",
        )

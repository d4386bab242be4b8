"""Documents as tokens, and long ones in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rankfold.data.examples import DocumentExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXTS_AT_A_TIME = 256
"""Texts tokenised together: the tokenizer spreads them over its threads."""


def tokens_of(examples: Sequence[DocumentExample], tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    """Yield each document's tokens, without the special ones that a tokenizer puts around a text."""
    for start in range(0, len(examples), TEXTS_AT_A_TIME):
        texts = [example.text for example in examples[start : start + TEXTS_AT_A_TIME]]
        # Not `verbose`: a document longer than the model reads is cut here, and no reason to warn.
        encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
        yield from encoded["input_ids"]


def chunks(tokens: Sequence[int], size: int, *, shared: int = 0) -> Iterator[list[int]]:
    """Cut tokens into pieces of at most `size`, neighbours sharing `shared`; at least one, be it empty."""
    start = 0
    yield list(tokens[:size])
    while start + size < len(tokens):
        start += size - shared
        yield list(tokens[start : start + size])

"""Dividing a question's context into overlapping windows that fit a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rankfold.data.examples import QuestionExample
from rankfold.errors import DataError
from rankfold.recipe.schema import Data

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOT_CONTEXT = -1


@dataclass(frozen=True)
class Window:
    """One stretch of a context with its question in front, or behind where padding is on the left.

    Attributes:
        example: Index of the example.
        model_inputs: What the model wants besides the attention mask, one int a token.
        offset_starts: First character of each token in the context; -1 where it is not context.
        offset_ends: Character after each token; -1 where it is not context.
        cls_index: Position that stands for "no answer": the CLS token, or 0 where there is none.
    """

    example: int
    model_inputs: dict[str, list[int]]
    offset_starts: list[int]
    offset_ends: list[int]
    cls_index: int


def make_windows(
    examples: Sequence[QuestionExample], tokenizer: PreTrainedTokenizerBase, data: Data
) -> list[Window]:
    """Tokenise every example into at least one window, in the examples' order.

    Raises:
        DataError: A question leaves less room for context than `doc_stride` needs.
    """
    _check_room(examples, tokenizer, data)
    question_first = tokenizer.padding_side == "right"
    questions = [example.question.strip() for example in examples]
    contexts = [example.context for example in examples]
    encoded = encode_windows(
        tokenizer,
        *((questions, contexts) if question_first else (contexts, questions)),
        truncation="only_second" if question_first else "only_first",
        data=data,
    )
    owners = encoded.pop("overflow_to_sample_mapping")
    offsets = encoded.pop("offset_mapping")
    context_sequence = 1 if question_first else 0
    return [
        _window(
            example=owners[row],
            model_inputs={name: values[row] for name, values in encoded.items()},
            offsets=offsets[row],
            is_context=[sequence == context_sequence for sequence in encoded.sequence_ids(row)],
            cls_id=tokenizer.cls_token_id,
        )
        for row in range(len(owners))
    ]


def encode_windows(
    tokenizer: PreTrainedTokenizerBase, *texts: Sequence[str], truncation: str, data: Data
) -> Any:
    """Tokenise texts, or pairs of texts, into windows of `max_length` tokens that share `doc_stride`.

    Returns transformers' BatchEncoding, one row a window from the beginning of each text to its end, with
    `offset_mapping` and with the text of each row in `overflow_to_sample_mapping`.
    """
    side, tokenizer.truncation_side = tokenizer.truncation_side, "right"
    encoded = tokenizer(
        *texts,
        truncation=truncation,
        max_length=data.max_length,
        stride=data.doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    tokenizer.truncation_side = side
    # Else the tokenizer would be saved, and deployed, cutting every text into windows.
    tokenizer.backend_tokenizer.no_truncation()
    return encoded


def answer_positions(window: Window, example: QuestionExample) -> tuple[int, int]:
    """Return the first and last token of the first gold answer, or the CLS position twice.

    CLS stands for a window that does not show the whole answer, and for a question without one.
    """
    nothing = (window.cls_index, window.cls_index)
    if not example.answers:
        return nothing
    answer = example.answers[0]
    start, end = answer.answer_start, answer.answer_start + len(answer.text)
    offsets = enumerate(zip(window.offset_starts, window.offset_ends, strict=True))
    context = [(position, first, last) for position, (first, last) in offsets if first != NOT_CONTEXT]
    touching = [position for position, first, last in context if last > start and first < end]
    # By the window and not by the tokens found: what a tokenizer drops, such as a space at the edge of
    # an answer, belongs to no token.
    whole = touching and context[0][1] <= start and context[-1][2] >= end
    return (touching[0], touching[-1]) if whole else nothing


def _window(
    *,
    example: int,
    model_inputs: dict[str, list[int]],
    offsets: list[tuple[int, int]],
    is_context: list[bool],
    cls_id: int | None,
) -> Window:
    ids = model_inputs["input_ids"]
    pairs = list(zip(offsets, is_context, strict=True))
    return Window(
        example=example,
        model_inputs=model_inputs,
        offset_starts=[offset[0] if context else NOT_CONTEXT for offset, context in pairs],
        offset_ends=[offset[1] if context else NOT_CONTEXT for offset, context in pairs],
        cls_index=ids.index(cls_id) if cls_id is not None and cls_id in ids else 0,
    )


def _check_room(examples: Sequence[QuestionExample], tokenizer: PreTrainedTokenizerBase, data: Data) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=True)
    questions = [example.question.strip() for example in examples]
    encoded = tokenizer(questions, add_special_tokens=False, return_attention_mask=False)
    for example, ids in zip(examples, encoded["input_ids"], strict=True):
        room = data.max_length - len(ids) - special
        if room <= data.doc_stride:
            raise DataError(
                f"question {example.id!r} has {len(ids)} tokens, so max_length {data.max_length} leaves "
                f"{room} tokens for context, and windows cannot share doc_stride {data.doc_stride} of them",
                where="data.doc_stride",
                remedy=f"Set data.doc_stride below {max(room, 1)}, or raise data.max_length.",
            )

"""Chat messages as token ids, through the tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from rankfold.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, object]
"""`role` and `content`, as chat templates take them."""


@dataclass(frozen=True)
class ChatIds:
    """Token ids of a prompt and of its answer, which ends with the end of turn."""

    prompt: list[int]
    answer: list[int]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Return the ids of the messages up to where the model is to speak.

    Raises:
        ModelError: The tokenizer has no chat template, or one that refuses the messages.
    """
    return _ids(tokenizer, _render(tokenizer, messages, add_generation_prompt=True))


def chat_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], answer: str) -> ChatIds:
    """Return prompt and answer, tokenised apart so that training sees the very ids generation starts from.

    Raises:
        ModelError: There is no chat template, it refuses the messages, rewrites the prompt once an answer
            follows, or does not say how a turn ends.
    """
    prompt = _render(tokenizer, messages, add_generation_prompt=True)
    whole = _render(
        tokenizer, [*messages, {"role": "assistant", "content": answer}], add_generation_prompt=False
    )
    if not whole.startswith(prompt):
        raise ModelError(
            "the chat template renders the prompt differently once an answer follows, so the answer's "
            f"tokens cannot be told from the prompt's (template of {tokenizer.name_or_path})",
            where="model.name_or_path",
            remedy="Use a model whose template appends the answer, or change chat_template.jinja.",
        )
    return ChatIds(_ids(tokenizer, prompt), _through_end_of_turn(tokenizer, whole[len(prompt) :], answer))


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that end a turn: the template's end of turn and the tokenizer's end of text."""
    turn = chat_ids(tokenizer, [{"role": "user", "content": "?"}], "!").answer
    return sorted({turn[-1], *([] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)])})


def _through_end_of_turn(tokenizer: PreTrainedTokenizerBase, turn: str, answer: str) -> list[int]:
    """Tokenise up to the first special token behind the answer; the template's rest is never generated."""
    encoded = tokenizer(turn, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    # Templates trim an answer, and may write special tokens in front of it.
    bare = answer.strip()
    answer_end = max(turn.find(bare), 0) + len(bare)
    for position, (start, _) in enumerate(encoded["offset_mapping"]):
        if ids[position] in special and start >= answer_end:
            return ids[: position + 1]
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"neither the chat template nor the tokenizer of {tokenizer.name_or_path} says how a turn ends",
            where="model.name_or_path",
            remedy="Set eos_token in its tokenizer_config.json.",
        )
    return [*ids, int(tokenizer.eos_token_id)]


def _render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, add_generation_prompt: bool
) -> str:
    if tokenizer.chat_template is None:
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template",
            where="model.name_or_path",
            remedy="Choose an instruction-tuned model, or put a chat_template.jinja beside its tokenizer.",
        )
    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except TemplateError as error:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path} refuses the messages: {error}",
            where="model.name_or_path",
            remedy='If it takes no system message, set prompt.system to "" and name {labels} in prompt.user.',
        ) from error
    return text


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids

"""Chat messages as token ids, through the tokenizer's own chat template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from rankfold.errors import ModelError

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
    return ChatIds(_ids(tokenizer, prompt), _through_end_of_turn(tokenizer, whole[len(prompt) :]))


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that end a turn: the template's last special token and the tokenizer's own."""
    turn = chat_ids(tokenizer, [{"role": "user", "content": "?"}], "!").answer
    return sorted({turn[-1], *([] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)])})


def _through_end_of_turn(tokenizer: PreTrainedTokenizerBase, answer: str) -> list[int]:
    """Tokenise an answer; what a template writes after the end of turn is never generated, so it goes."""
    ids = _ids(tokenizer, answer)
    special = set(tokenizer.all_special_ids)
    for index in range(len(ids) - 1, -1, -1):
        if ids[index] in special:
            return ids[: index + 1]
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

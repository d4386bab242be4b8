"""Chat messages as token ids, through the tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.jsonl import shorten
from rankfold.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, object]
"""`role` and `content`, as chat templates take them."""


@dataclass(frozen=True)
class Turns:
    """Token ids of a conversation, cut where the assistant begins to speak and where it has ended.

    Attributes:
        given: What stands in front of each of its turns: the first prompt, then what lies between two turns.
        said: Its turns, each with its end of turn.
    """

    given: tuple[list[int], ...]
    said: tuple[list[int], ...]

    @property
    def input_ids(self) -> list[int]:
        """The whole conversation."""
        return [index for pair in zip(self.given, self.said, strict=True) for part in pair for index in part]

    @property
    def labels(self) -> list[int]:
        """Of the length of `input_ids`: what the assistant says, all else ignored."""
        labels: list[int] = []
        for given, said in zip(self.given, self.said, strict=True):
            labels += [IGNORED_LABEL] * len(given) + said
        return labels

    @property
    def prompt(self) -> list[int]:
        """Everything in front of the last turn."""
        return self.input_ids[: -len(self.said[-1])]


@dataclass(frozen=True)
class ChatIds:
    """Token ids of a prompt and of its answer, which ends with the end of turn."""

    prompt: list[int]
    answer: list[int]


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, where: str = "model.name_or_path"
) -> list[int]:
    """Return the ids of the messages up to where the model is to speak.

    Raises:
        ModelError: The tokenizer has no chat template, or one that refuses the messages; names `where`.
    """
    return _ids(tokenizer, _render(tokenizer, messages, add_generation_prompt=True, where=where))


def chat_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], answer: str) -> ChatIds:
    """Return prompt and answer, tokenised apart so that training sees the very ids generation starts from.

    Raises:
        ModelError: As `conversation_turns`.
    """
    turns = conversation_turns(tokenizer, [*messages, {"role": "assistant", "content": answer}])
    return ChatIds(turns.prompt, turns.said[-1])


def conversation_turns(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, where: str = "model.name_or_path"
) -> Turns:
    """Cut a conversation that ends with the assistant's turn into what is given and what it says.

    The conversation is rendered as a whole. A turn begins where the template, given the messages before it,
    would have the model speak; so a template needs no marks of its own, and training sees the very ids that
    generation starts from, as the parts are tokenised apart.

    Args:
        tokenizer: Has the template.
        messages: At least one of the assistant's, and that the last.
        where: What to name in errors.

    Raises:
        ModelError: There is no chat template, it refuses the messages, renders the messages before a turn
            differently once the turn follows, changes what the assistant says, or does not say how a turn
            ends.
    """
    whole = _render(tokenizer, messages, add_generation_prompt=False, where=where)
    places = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    starts = [_start_of_turn(tokenizer, messages[:place], whole, where) for place in places]
    given, said, end = [], [], 0
    for place, start, next_start in zip(places, starts, [*starts[1:], len(whole)], strict=True):
        given.append(_ids(tokenizer, whole[end:start]))
        turn = _through_end_of_turn(
            tokenizer, whole[start:next_start], str(messages[place]["content"]), where
        )
        said.append(turn.ids)
        end = start + turn.num_characters
    if len({ids[-1] for ids in said}) > 1:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path} does not end all turns of the assistant with one "
            "special token, so what follows cannot be told from it",
            where=where,
            remedy="Write the end-of-text token behind the assistant's turns in chat_template.jinja, or give "
            "every turn a conversation of its own.",
        )
    return Turns(tuple(given), tuple(said))


def _start_of_turn(
    tokenizer: PreTrainedTokenizerBase, before: Sequence[Message], whole: str, where: str
) -> int:
    """Return the character of the whole conversation at which the model is to speak after some messages."""
    prompt = _render(tokenizer, before, add_generation_prompt=True, where=where)
    if not whole.startswith(prompt):
        raise ModelError(
            "the chat template renders the prompt differently once an answer follows, so the answer's "
            f"tokens cannot be told from the prompt's (template of {tokenizer.name_or_path})",
            where=where,
            remedy="Use a model whose template appends the answer, or change chat_template.jinja; where it "
            "rewrites earlier turns, give every turn a conversation of its own.",
        )
    return len(prompt)


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that end a turn: the template's end of turn and the tokenizer's end of text."""
    turn = chat_ids(tokenizer, [{"role": "user", "content": "?"}], "!").answer
    return sorted({turn[-1], *([] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)])})


@dataclass(frozen=True)
class _Turn:
    """A turn's ids, and the characters of the rendered text that they stand for."""

    ids: list[int]
    num_characters: int


def _through_end_of_turn(tokenizer: PreTrainedTokenizerBase, turn: str, answer: str, where: str) -> _Turn:
    """Tokenise up to the first special token behind the answer; the template's rest is never generated."""
    # Templates trim an answer, and may write special tokens in front of it.
    bare = answer.strip()
    start_of_answer = turn.find(bare)
    if start_of_answer < 0:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path} changes what the assistant says, so it cannot be "
            f"told where that ends: {shorten(bare)}",
            where=where,
            remedy="Leave out of the answers what the template takes away, such as thoughts in <think>, or "
            "change chat_template.jinja.",
        )
    encoded = tokenizer(turn, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    for position, (start, end) in enumerate(encoded["offset_mapping"]):
        if ids[position] in special and start >= start_of_answer + len(bare):
            return _Turn(ids[: position + 1], end)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"neither the chat template nor the tokenizer of {tokenizer.name_or_path} says how a turn ends",
            where=where,
            remedy="Set eos_token in its tokenizer_config.json.",
        )
    return _Turn([*ids, int(tokenizer.eos_token_id)], len(turn))


def _render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool,
    where: str,
) -> str:
    if tokenizer.chat_template is None:
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template",
            where=where,
            remedy="Choose an instruction-tuned model, or put a chat_template.jinja beside its tokenizer.",
        )
    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except TemplateError as error:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path} refuses the messages: {error}",
            where=where,
            remedy="If it takes no system message, leave it out of the data; for generative_ner set "
            'prompt.system to "" and name {labels} in prompt.user.',
        ) from error
    return text


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids

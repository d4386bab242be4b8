"""Instruction tuning: a language model learns what the assistant says in conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rankfold.data.causal import collate_causal
from rankfold.data.chat import conversation_turns, prompt_ids, stop_ids
from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.conversations import conversation_of_row
from rankfold.data.examples import ChatExample, Message
from rankfold.data.features import Features
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Row
from rankfold.tasks.writing import REFERENCE, Writing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_ANSWER = "no turn of the assistant"
NO_ROOM = "prompt alone fills max_length"
NOT_SCORED = "conversation that does not end with an answer, not scored"


class Instruction(Writing[ChatExample]):
    """Every turn of the assistant is learned and nothing else; the last one is what is evaluated.

    A conversation that ends otherwise is one to be answered: its end has no reference.
    """

    auto_class = "AutoModelForCausalLM"
    peft_task_type = "CAUSAL_LM"
    example_type = ChatExample
    facts = BUILT_IN["instruction"][1]

    def example_of(self, row: Row, where: str) -> ChatExample:
        return conversation_of_row(row, where)

    def training_features(
        self,
        examples: Sequence[ChatExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        limit = recipe.data.max_length
        columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
        truncated, dropped = 0, dict.fromkeys((NO_ANSWER, NO_ROOM), 0)
        for example in examples:
            messages = _through_last_answer(example.messages)
            if not messages:
                dropped[NO_ANSWER] += 1
                continue
            turns = conversation_turns(tokenizer, _as_rendered(messages), where=_place(example))
            if len(turns.given[0]) >= limit:
                dropped[NO_ROOM] += 1
                continue
            truncated += len(turns.input_ids) > limit
            columns["input_ids"].append(turns.input_ids[:limit])
            columns["labels"].append(turns.labels[:limit])
        reasons = {reason: number for reason, number in dropped.items() if number}
        return Features(columns, num_truncated=truncated, dropped=reasons)

    def evaluation_features(
        self,
        examples: Sequence[ChatExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        columns: dict[str, list[Any]] = {"input_ids": [], REFERENCE: [], "example": []}
        for number, example in enumerate(examples):
            messages = _as_rendered(example.messages)
            # Never truncated: a conversation that the model has not read cannot be scored fairly.
            if _is_answered(example):
                turns = conversation_turns(tokenizer, messages, where=_place(example))
                prompt, reference = turns.prompt, turns.said[-1]
            else:
                prompt, reference = prompt_ids(tokenizer, messages, where=_place(example)), []
            columns["input_ids"].append(prompt)
            columns[REFERENCE].append(reference)
            columns["example"].append(number)
        unanswered = columns[REFERENCE].count([])
        return Features(columns, repaired={NOT_SCORED: unanswered} if unanswered else {})

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        return dict(collate_causal(rows, tokenizer))

    def text_of(self, example: ChatExample) -> str:
        """The messages that are to be answered: the text of a single one, else each with its role."""
        given = example.messages[:-1] if _is_answered(example) else example.messages
        if len(given) == 1:
            return given[0].content
        return "\n".join(f"{message.role}: {message.content}" for message in given)

    def reference_of(self, example: ChatExample) -> str | None:
        return example.messages[-1].content if _is_answered(example) else None

    def stop_ids(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        return stop_ids(tokenizer)

    def scored_batch(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        whole = [
            {
                "input_ids": [*row["input_ids"], *row[REFERENCE]],
                "labels": [IGNORED_LABEL] * len(row["input_ids"]) + row[REFERENCE],
            }
            for row in rows
        ]
        return dict(collate_causal(whole, tokenizer))


def _is_answered(example: ChatExample) -> bool:
    return example.messages[-1].role == "assistant"


def _through_last_answer(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages up to the assistant's last; what is asked after it teaches nothing. None without one."""
    answers = [place for place, message in enumerate(messages) if message.role == "assistant"]
    return tuple(messages[: answers[-1] + 1]) if answers else ()


def _as_rendered(messages: Sequence[Message]) -> list[dict[str, object]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _place(example: ChatExample) -> str:
    return f"conversation {example.id}"

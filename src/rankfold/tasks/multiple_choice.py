"""Questions with answers to choose from: an encoder reads each with the question and scores it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise, takewhile
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rankfold.data.examples import ChoiceExample
from rankfold.data.features import Features
from rankfold.data.jsonl import shorten
from rankfold.data.tables import is_absent
from rankfold.data.text_pairs import encode_texts
from rankfold.errors import DataError
from rankfold.evaluation.work import UnitWork
from rankfold.json_lines import json_lines, member_lines
from rankfold.metrics.multiple_choice import choice_metrics_of
from rankfold.nbest.choices import Ranked, rank_one_of
from rankfold.nbest.tables import table_to_bytes, tables_from_bytes
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Merged, RecordedExamples, Row, Task

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SCHEMA = pa.schema([("logit", pa.float32())])


class MultipleChoice(Task[ChoiceExample]):
    """A row of the training features is a question with all its choices, one of the evaluation's a choice.

    In training the choices of a question stand side by side, as the loss compares them. In evaluation each
    is scored by itself, so nothing is filled up where questions have different numbers of them.
    """

    auto_class = "AutoModelForMultipleChoice"
    # PEFT has no type of its own for it; the head is called and trained as in sequence classification.
    peft_task_type = "SEQ_CLS"
    unit_name = "text"
    example_type = ChoiceExample
    merge_settings = frozenset({"n_best_size", "num_bootstrap_resamples"})
    facts = BUILT_IN["multiple_choice"][1]

    def example_of(self, row: Row, where: str) -> ChoiceExample:
        """As every task's, but the answer may also be a letter or the text of a choice.

        Without a column `choices` they are those in columns A, B, C and so on, as in MMLU and C-Eval.
        """
        values = dict(row)
        if values.get("choices") is None:
            values["choices"] = [
                row[letter] for letter in takewhile(row.__contains__, ascii_uppercase)
            ] or None
        answer = values.pop("answer", None)
        example = super().example_of(values, where)
        if len(example.choices) < 2:
            raise DataError(
                f"there must be two choices at least; found {shorten(list(example.choices))}",
                where=where,
                remedy="Say which column has the list of them: columns: {choices: COLUMN}.",
            )
        if is_absent(answer):
            return example
        place = _place_of(answer, example.choices, where)
        return ChoiceExample(example.id, example.question, example.choices, place, example.context)

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        return {}

    def training_features(
        self,
        examples: Sequence[ChoiceExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        """Tokenise questions: the choices of one in one row, and in `lengths` how long each is."""
        learned = [example for example in examples if example.answer is not None]
        inputs, num_truncated = _encoded(learned, tokenizer, recipe)
        columns: dict[str, list[Any]] = {
            name: [[token for ids in choices for token in ids] for choices in column]
            for name, column in inputs.items()
        }
        columns["lengths"] = [[len(ids) for ids in choices] for choices in inputs["input_ids"]]
        columns["labels"] = [example.answer for example in learned]
        without = len(examples) - len(learned)
        return Features(columns, num_truncated, {"no answer": without} if without else {})

    def evaluation_features(
        self,
        examples: Sequence[ChoiceExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        inputs, num_truncated = _encoded(examples, tokenizer, recipe)
        columns: dict[str, list[Any]] = {
            name: [ids for choices in column for ids in choices] for name, column in inputs.items()
        }
        columns["example"] = [index for index, example in enumerate(examples) for _ in example.choices]
        return Features(columns, num_truncated)

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Pad to (questions, most choices, longest); a choice that is not there has an empty mask."""
        import torch

        from rankfold.evaluation.batches import model_inputs

        most = max(len(row["lengths"]) for row in rows)
        names = [name for name in ("input_ids", "token_type_ids") if name in rows[0]]
        choices = [choice for row in rows for choice in _choices(row, names, most)]
        inputs = {
            name: values.view(len(rows), most, -1)
            for name, values in model_inputs(choices, tokenizer).items()
        }
        return {**inputs, "labels": torch.tensor([row["labels"] for row in rows])}

    def loss(self, model: Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """The cross entropy of the right choice among those that are there."""
        from torch.nn.functional import cross_entropy

        mask, labels = batch["attention_mask"], batch["labels"]
        is_there = mask.any(dim=-1)
        # Attention to nothing may give NaN, and its gradient too, though the loss leaves it out.
        lent = mask.clone()
        lent[..., 0] |= ~is_there
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        output = model(**{**inputs, "attention_mask": lent})
        logits = output.logits.float().masked_fill(~is_there, float("-inf"))
        return cross_entropy(logits, labels), output

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> bytes:
        from rankfold.evaluation.class_logits import OneChoiceEach, class_logits

        logits = class_logits(OneChoiceEach(model), tokenizer, work, recipe.evaluation)
        return table_to_bytes({"logit": list(logits[:, 0])}, SCHEMA, first_row=work.unit.start)

    def merge(
        self,
        recorded: RecordedExamples[ChoiceExample],
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Merged:
        rows = tables_from_bytes(recorded.payloads, recorded.rows)
        ends = list(accumulate(len(example.choices) for example in recorded.examples))
        logits = np.split(rows.column("logit").to_numpy(), ends[:-1])
        found = [(example, rank_one_of(own)) for example, own in zip(recorded.examples, logits, strict=True)]
        size = recipe.evaluation.n_best_size
        return Merged(
            predictions=member_lines((example.id, _nbest(example, ranked)[0]) for example, ranked in found),
            nbest=json_lines(
                {"id": example.id, "nbest": _nbest(example, ranked)[:size]} for example, ranked in found
            ),
            details=json_lines(_details_row(example, ranked) for example, ranked in found),
        )

    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        return choice_metrics_of(
            details, resamples=recipe.evaluation.num_bootstrap_resamples, seed=recipe.seed
        )


def _place_of(answer: Any, choices: Sequence[str], where: str) -> int:
    """The place of the answer, from 0. Text is that of a choice, or else a letter, or else a number."""
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)  # Parquet has whole numbers beside an empty cell in floats
    if isinstance(answer, int) and not isinstance(answer, bool):
        places = [answer]
    else:
        text = str(answer).strip()
        places = [place for place, choice in enumerate(choices) if choice.strip() == text]
        if not places and len(text) == 1:
            places = [ascii_uppercase.find(text.upper())]
        if not places or places == [-1]:
            places = [int(text)] if text.isascii() and text.isdigit() else []
    if len(places) == 1 and 0 <= places[0] < len(choices):
        return places[0]
    raise DataError(
        f"answer: {shorten(answer)} is "
        f"{'the text of several' if len(places) > 1 else 'none'} of the {len(choices)} choices",
        where=where,
        remedy="Write the choice's number, counted from 0, its letter, counted from A, or its text.",
    )


def _encoded(
    examples: Sequence[ChoiceExample], tokenizer: PreTrainedTokenizerBase, recipe: Recipe
) -> tuple[dict[str, list[list[list[int]]]], int]:
    """Tokenise question and choice as a pair; of a context, which comes first, the end is cut.

    Returns the model's inputs, example by example and choice by choice, and how many examples were cut.
    """
    pairs = [_texts(example, choice) for example in examples for choice in example.choices]
    encoded = encode_texts(
        [first for first, _ in pairs], [second for _, second in pairs], tokenizer, recipe.data.max_length
    )
    ends = [0, *accumulate(len(example.choices) for example in examples)]
    stretches = [slice(start, stop) for start, stop in pairwise(ends)]
    inputs = {
        name: [column[stretch] for stretch in stretches] for name, column in encoded.model_inputs.items()
    }
    return inputs, sum(any(encoded.is_truncated[stretch]) for stretch in stretches)


def _texts(example: ChoiceExample, choice: str) -> tuple[str, str]:
    """The two sides that a model reads, as is usual for SWAG (no context) and RACE (with one)."""
    if example.context:
        return example.context, f"{example.question} {choice}"
    return example.question, choice


def _choices(row: Row, names: Sequence[str], most: int) -> list[dict[str, list[int]]]:
    """The model's inputs of each choice of a row of the training features, empty where there is none."""
    ends = list(accumulate(row["lengths"]))
    starts = [0, *ends[:-1]]
    there = [{name: row[name][start:end] for name in names} for start, end in zip(starts, ends, strict=True)]
    return there + [{name: [] for name in names}] * (most - len(there))


def _nbest(example: ChoiceExample, ranked: Ranked) -> list[dict[str, Any]]:
    return [
        {"answer": place, "text": example.choices[place], "probability": probability}
        for place, probability in zip(ranked.order.tolist(), ranked.probabilities.tolist(), strict=True)
    ]


def _details_row(example: ChoiceExample, ranked: Ranked) -> dict[str, Any]:
    choice = int(ranked.order[0])
    named = [f"{_letter(place)}. {text}" for place, text in enumerate(example.choices)]
    texts = [example.context] if example.context else []
    return {
        "id": example.id,
        "text": "\n".join([*texts, example.question, *named]),
        "gold": "" if example.answer is None else named[example.answer],
        "predicted": named[choice],
        "score": _score(example, ranked),
        "answer": example.answer,
        "choice": choice,
        "num_choices": len(example.choices),
        "probability": float(ranked.probabilities[0]),
    }


def _score(example: ChoiceExample, ranked: Ranked) -> float | None:
    """1 where right; else the probability of the right answer, so that the surest mistakes come first."""
    if example.answer is None:
        return None
    if ranked.order[0] == example.answer:
        return 1.0
    return float(ranked.probabilities[ranked.order == example.answer][0])


def _letter(place: int) -> str:
    return ascii_uppercase[place] if place < len(ascii_uppercase) else str(place + 1)

"""Extractive question answering: an encoder marks where in its context an answer starts and ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rankfold.data.examples import QuestionExample
from rankfold.data.features import Features
from rankfold.data.windows import Window, answer_positions, make_windows
from rankfold.evaluation.work import UnitWork
from rankfold.json_lines import json_lines
from rankfold.metrics.question_answering import answer_metrics_of
from rankfold.metrics.squad import squad_scores
from rankfold.nbest.candidates import rank_candidates
from rankfold.nbest.finalise import finalise
from rankfold.nbest.lines import nbest_lines, prediction_lines
from rankfold.nbest.merge import MergeState
from rankfold.nbest.predictions import Predictions, predictions
from rankfold.nbest.records import records_from_bytes, records_to_bytes
from rankfold.nbest.windows import WindowTable
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Merged, RecordedExamples, Row, Task

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_POSITIONS = {"start_logits": "start_positions", "end_logits": "end_positions"}
"""What is learned of each of a model's outputs."""


class ExtractiveQA(Task[QuestionExample]):
    """SQuAD v1 and v2 and whatever has their shape."""

    auto_class = "AutoModelForQuestionAnswering"
    peft_task_type = "QUESTION_ANS"
    unit_name = "window"
    example_type = QuestionExample
    merge_settings = frozenset(
        {
            "n_best_size",
            "max_answer_length",
            "version_2_with_negative",
            "null_score_diff_threshold",
            "num_bootstrap_resamples",
        }
    )
    facts = BUILT_IN["extractive_qa"][1]

    def example_of(self, row: Row, where: str) -> QuestionExample:
        # Only SQuAD's own files bring answers; a row of a table is a question to be answered.
        return super().example_of({**row, "answers": None}, where)

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        return {"n_best_size": recipe.evaluation.n_best_size}

    def settle(self, recipe: Recipe, examples: Iterable[QuestionExample]) -> Recipe:
        if recipe.evaluation.version_2_with_negative is not None:
            return recipe
        version_2 = not all(example.answers for example in examples)
        evaluation = recipe.evaluation.model_copy(update={"version_2_with_negative": version_2})
        return recipe.model_copy(update={"evaluation": evaluation})

    def training_features(
        self,
        examples: Sequence[QuestionExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        windows = make_windows(examples, tokenizer, recipe.data)
        positions = [answer_positions(window, examples[window.example]) for window in windows]
        columns = _columns(windows)
        columns["start_positions"] = [start for start, _ in positions]
        columns["end_positions"] = [end for _, end in positions]
        shown = {
            window.example
            for window, (start, _) in zip(windows, positions, strict=True)
            if start != window.cls_index
        }
        hidden = sum(bool(e.answers) and index not in shown for index, e in enumerate(examples))
        return Features(columns, num_truncated=hidden)

    def evaluation_features(
        self,
        examples: Sequence[QuestionExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        windows = make_windows(examples, tokenizer, recipe.data)
        columns = _columns(windows)
        columns["offset_starts"] = [window.offset_starts for window in windows]
        columns["offset_ends"] = [window.offset_ends for window in windows]
        return Features(columns)

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        import torch

        from rankfold.evaluation.batches import model_inputs

        inputs = model_inputs(rows, tokenizer)
        # On the left, padding moves every token to the right.
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        shift = inputs["input_ids"].shape[1] - lengths if tokenizer.padding_side == "left" else 0
        for name in _POSITIONS.values():
            inputs[name] = torch.tensor([row[name] for row in rows]) + shift
        return inputs

    def loss(self, model: Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """The mean cross entropy of starts and ends over each window's tokens.

        A model's own gives padding a share of the probability too, so that a window's loss depends on which
        others are in its batch.
        """
        import torch
        from torch.nn.functional import cross_entropy

        output = model(**{name: value for name, value in batch.items() if name not in _POSITIONS.values()})
        is_padding = batch["attention_mask"] == 0
        losses = [
            cross_entropy(output[of].float().masked_fill(is_padding, float("-inf")), batch[positions])
            for of, positions in _POSITIONS.items()
        ]
        return torch.stack(losses).mean(), output

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> bytes:
        from rankfold.evaluation.span_records import window_records

        records = window_records(model, tokenizer, work, recipe.evaluation)
        return records_to_bytes(records)

    def merge(
        self,
        recorded: RecordedExamples[QuestionExample],
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Merged:
        evaluation = recipe.evaluation
        version_2 = bool(evaluation.version_2_with_negative)
        records = [records_from_bytes(payload, where="a work unit") for payload in recorded.payloads]
        ranking = rank_candidates(
            MergeState.of(records).of_examples(recorded.places),
            _window_table(recorded.features, recorded.first_row),
            examples=recorded.places,
            n_best_size=evaluation.n_best_size,
            max_answer_length=evaluation.max_answer_length,
        )
        answers = finalise(
            ranking,
            version_2_with_negative=version_2,
            null_score_diff_threshold=evaluation.null_score_diff_threshold,
        )
        predicted = predictions(answers, recorded.examples)
        return Merged(
            predictions=prediction_lines(predicted.texts, recorded.examples),
            nbest=nbest_lines(answers, recorded.examples),
            details=json_lines(_details(predicted, recorded.examples, version_2)),
        )

    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        return answer_metrics_of(
            details,
            version_2_with_negative=bool(recipe.evaluation.version_2_with_negative),
            resamples=recipe.evaluation.num_bootstrap_resamples,
            seed=recipe.seed,
        )


def _columns(windows: Sequence[Window]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: [window.model_inputs[name] for window in windows] for name in windows[0].model_inputs
    }
    columns["example"] = [window.example for window in windows]
    columns["cls_index"] = [window.cls_index for window in windows]
    return columns


def _window_table(features: pa.Table, first_row: int) -> WindowTable:
    """Read the columns straight from Arrow, without a Python object a token."""
    starts, ends = (_column(features, name) for name in ("offset_starts", "offset_ends"))
    lengths = np.diff(starts.offsets.to_numpy())
    return WindowTable(
        window_id=np.arange(first_row, first_row + len(features), dtype=np.int64),
        example_index=_column(features, "example").to_numpy().astype(np.int64),
        offsets=np.stack([side.flatten().to_numpy() for side in (starts, ends)], axis=1).astype(np.int32),
        row_starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        cls_index=_column(features, "cls_index").to_numpy().astype(np.int64),
    )


def _column(features: pa.Table, name: str) -> Any:
    return features.column(name).combine_chunks()


def _details(
    predicted: Predictions, examples: Sequence[QuestionExample], version_2: bool
) -> Iterator[Mapping[str, Any]]:
    texts = {example.id: text for example, text in zip(examples, predicted.texts, strict=True)}
    # A question that is to be answered may have no gold answer; `metrics` refuses it where it must.
    scorable = [example for example in examples if version_2 or example.answers]
    scores = squad_scores(texts, scorable, version_2_with_negative=version_2).per_example
    for row, example in enumerate(examples):
        score = scores.get(example.id)
        yield {
            "id": example.id,
            "question": example.question,
            "context": example.context,
            "answers": [{"text": a.text, "answer_start": a.answer_start} for a in example.answers],
            "prediction": predicted.texts[row],
            "start": predicted.starts[row],
            "end": predicted.ends[row],
            "probability": predicted.probabilities[row],
            "null_score_difference": predicted.null_score_differences[row],
            "exact_match": score and score.exact_match,
            "f1": score and score.f1,
        }

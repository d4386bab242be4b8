"""Extractive question answering: an encoder marks where in its context an answer starts and ends."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.data.examples import QuestionExample
from rankfold.data.windows import Window, answer_positions, make_windows
from rankfold.evaluation.span_records import model_inputs, window_records
from rankfold.metrics.load import load_metric
from rankfold.metrics.squad import squad_scores
from rankfold.nbest.candidates import rank_candidates
from rankfold.nbest.finalise import finalise
from rankfold.nbest.merge import MergeState
from rankfold.nbest.predictions import Prediction, nbest_row, official_predictions
from rankfold.nbest.records import records_from_bytes, records_to_bytes
from rankfold.nbest.units import Unit
from rankfold.nbest.windows import WindowTable
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Features, Results, Row, Task

_IDEOGRAPH = re.compile(r"[㐀-䶿一-鿿]")
"""SQuAD's word overlap means nothing for text without spaces; answers like this get CMRC's scores too."""


class ExtractiveQA(Task[QuestionExample]):
    """SQuAD v1 and v2 and whatever has their shape."""

    auto_class = "AutoModelForQuestionAnswering"
    peft_task_type = "QUESTION_ANS"
    unit_name = "window"
    example_type = QuestionExample

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
        inputs = model_inputs(rows, tokenizer)
        # On the left, padding moves every token to the right.
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        shift = inputs["input_ids"].shape[1] - lengths if tokenizer.padding_side == "left" else 0
        for name in ("start_positions", "end_positions"):
            inputs[name] = torch.tensor([row[name] for row in rows]) + shift
        return inputs

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        features: Dataset,
        unit: Unit,
        recipe: Recipe,
        *,
        shard: str,
        advance: Callable[[int], None],
    ) -> bytes:
        records = window_records(
            model,
            tokenizer,
            features.select(range(unit.start, unit.stop)).to_list(),
            first_window=unit.start,
            batch_size=recipe.evaluation.per_device_eval_batch_size,
            n_best_size=recipe.evaluation.n_best_size,
            shard=shard,
            advance=advance,
        )
        return records_to_bytes(records)

    def merge(
        self,
        units: Sequence[tuple[Unit, bytes]],
        examples: Sequence[QuestionExample],
        features: Dataset,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Results:
        parts = [records_from_bytes(payload, where=f"unit {unit.index}") for unit, payload in units]
        ranking = rank_candidates(
            MergeState.of(parts),
            _window_table(features),
            num_examples=len(examples),
            n_best_size=recipe.evaluation.n_best_size,
            max_answer_length=recipe.evaluation.max_answer_length,
        )
        version_2 = recipe.evaluation.version_2_with_negative
        if version_2 is None:
            version_2 = not all(example.answers for example in examples)
        predictions = finalise(
            ranking,
            examples,
            version_2_with_negative=version_2,
            null_score_diff_threshold=recipe.evaluation.null_score_diff_threshold,
        )
        answers = official_predictions(predictions)
        return Results(
            predictions=answers,
            nbest=map(nbest_row, predictions),
            details=_details(predictions, examples, version_2),
            metrics=_metrics(answers, examples, version_2),
        )


def _columns(windows: Sequence[Window]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: [window.model_inputs[name] for window in windows] for name in windows[0].model_inputs
    }
    columns["example"] = [window.example for window in windows]
    columns["cls_index"] = [window.cls_index for window in windows]
    return columns


def _window_table(features: Dataset) -> WindowTable:
    """Read the columns straight from Arrow, without a Python object a token."""
    starts, ends = (_column(features, name) for name in ("offset_starts", "offset_ends"))
    lengths = np.diff(starts.offsets.to_numpy())
    return WindowTable(
        window_id=np.arange(len(features), dtype=np.int64),
        example_index=_column(features, "example").to_numpy().astype(np.int64),
        offsets=np.stack([side.flatten().to_numpy() for side in (starts, ends)], axis=1).astype(np.int32),
        row_starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        cls_index=_column(features, "cls_index").to_numpy().astype(np.int64),
    )


def _column(features: Dataset, name: str) -> Any:
    return features.data.table.column(name).combine_chunks()


def _details(
    predictions: Sequence[Prediction], examples: Sequence[QuestionExample], version_2: bool
) -> list[Mapping[str, Any]]:
    scores = squad_scores(
        official_predictions(predictions), examples, version_2_with_negative=version_2
    ).per_example
    return [
        {
            "id": example.id,
            "question": example.question,
            "context": example.context,
            "answers": [{"text": a.text, "answer_start": a.answer_start} for a in example.answers],
            "prediction": prediction.text,
            "start": prediction.start,
            "end": prediction.end,
            "probability": prediction.probability,
            "exact_match": scores[example.id].exact_match,
            "f1": scores[example.id].f1,
        }
        for prediction, example in zip(predictions, examples, strict=True)
    ]


def _metrics(
    answers: Mapping[str, str], examples: Sequence[QuestionExample], version_2: bool
) -> dict[str, float]:
    predictions = [{"id": key, "prediction_text": text} for key, text in answers.items()]
    references = [
        {
            "id": example.id,
            "answers": {
                "text": [answer.text for answer in example.answers],
                "answer_start": [answer.answer_start for answer in example.answers],
            },
        }
        for example in examples
    ]
    squad = load_metric("rankfold_squad_v2" if version_2 else "rankfold_squad")
    metrics: dict[str, float] = squad.compute(predictions=predictions, references=references)
    if not version_2 and any(_IDEOGRAPH.search(a.text) for e in examples for a in e.answers):
        cmrc = load_metric("rankfold_cmrc").compute(predictions=predictions, references=references)
        metrics |= {f"cmrc_{name}": value for name, value in cmrc.items() if name != "total"}
    return metrics

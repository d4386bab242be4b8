"""Entity recognition by an encoder that tags the tokens of entities."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rankfold.data.collate import IGNORED_LABEL, pad
from rankfold.data.examples import EntityExample
from rankfold.data.features import Features
from rankfold.data.tags import tag_entities, tag_names
from rankfold.data.text_windows import TextWindow, WindowedText, window_texts
from rankfold.entities.rows import details_row, entity_rows, nbest_row
from rankfold.entities.tagged import TaggedEntities, entities_of_examples
from rankfold.errors import DataError
from rankfold.evaluation.work import UnitWork
from rankfold.json_lines import json_lines, member_lines
from rankfold.metrics.entities import count_entities, entity_metrics_of, example_f1
from rankfold.nbest.entity_records import entity_records_from_bytes, entity_records_to_bytes
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Merged, RecordedExamples, Row, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TokenClassification(Task[EntityExample]):
    """Texts in windows, a BIO tag a token, entities from all windows of a text."""

    auto_class = "AutoModelForTokenClassification"
    peft_task_type = "TOKEN_CLS"
    unit_name = "window"
    example_type = EntityExample
    merge_settings = frozenset({"n_best_size", "num_bootstrap_resamples"})
    facts = BUILT_IN["token_classification"][1]

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        return {
            "labels": json.dumps(recipe.data.labels, ensure_ascii=False),
            "label_all_tokens": int(recipe.data.label_all_tokens),
            "n_best_size": recipe.evaluation.n_best_size,
            "max_answer_length": recipe.evaluation.max_answer_length,
            "decoding_strategy": recipe.evaluation.decoding_strategy,
        }

    def model_config(self, labels: Sequence[str]) -> dict[str, Any]:
        names = tag_names(labels)
        return {
            "id2label": dict(enumerate(names)),
            "label2id": {name: tag for tag, name in enumerate(names)},
        }

    def training_features(
        self,
        examples: Sequence[EntityExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        if not labels:
            raise DataError(
                "not one training text has an entity",
                where="data",
                remedy="Check that `format` fits the file, or name what is to be found in data.labels.",
            )
        columns: dict[str, list[Any]] = {"labels": []}
        dropped, repaired = Counter[str](), Counter[str]()
        texts = _windowed(examples, tokenizer, recipe)
        for example, text in zip(examples, texts, strict=True):
            tagged = tag_entities(example.entities, text.starts, text.ends, labels)
            dropped += tagged.dropped
            repaired += tagged.repaired
            for window in text.windows:
                _add_model_inputs(columns, window)
                columns["labels"].append(_window_labels(window, tagged.tags))
        return Features(columns, dropped=dropped, repaired=repaired)

    def evaluation_features(
        self,
        examples: Sequence[EntityExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        columns: dict[str, list[Any]] = {}
        for example, text in enumerate(_windowed(examples, tokenizer, recipe)):
            for number, window in enumerate(text.windows):
                _add_model_inputs(columns, window)
                shown = slice(window.first, window.first + len(window.positions))
                values = {
                    "example": example,
                    "continues": number > 0,
                    "own_start": window.own_start,
                    "own_stop": window.own_stop,
                    "positions": window.positions,
                    "char_starts": text.starts[shown],
                    "char_ends": text.ends[shown],
                }
                for name, value in values.items():
                    columns.setdefault(name, []).append(value)
        return Features(columns)

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        from rankfold.evaluation.batches import model_inputs

        labels = pad(rows, "labels", IGNORED_LABEL, tokenizer.padding_side)
        return {**model_inputs(rows, tokenizer), "labels": labels}

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> bytes:
        from rankfold.evaluation.entity_records import entity_records

        records = entity_records(model, tokenizer, work, recipe.evaluation)
        return entity_records_to_bytes(records)

    def merge(
        self,
        recorded: RecordedExamples[EntityExample],
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Merged:
        found = entities_of_examples(
            entity_records_from_bytes(recorded.payloads),
            recorded.features.column("example").to_numpy(),
            labels,
            first_window=recorded.first_row,
            examples=recorded.places,
            n_best_size=recipe.evaluation.n_best_size,
        )
        pairs = list(zip(recorded.examples, found, strict=True))
        return Merged(
            predictions=member_lines(
                (example.id, entity_rows(example.text, one.predicted)) for example, one in pairs
            ),
            nbest=json_lines(nbest_row(example.id, example.text, one.candidates) for example, one in pairs),
            details=json_lines(
                details_row(example, one.predicted, _f1(example, one)) for example, one in pairs
            ),
        )

    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        return entity_metrics_of(
            details, labels, resamples=recipe.evaluation.num_bootstrap_resamples, seed=recipe.seed
        )


def _windowed(
    examples: Sequence[EntityExample], tokenizer: PreTrainedTokenizerBase, recipe: Recipe
) -> Iterable[WindowedText]:
    return window_texts([example.text for example in examples], tokenizer, recipe.data)


def _add_model_inputs(columns: dict[str, list[Any]], window: TextWindow) -> None:
    for name, values in window.model_inputs.items():
        columns.setdefault(name, []).append(values)


def _window_labels(window: TextWindow, tags: Sequence[int]) -> list[int]:
    """The tag of each token of a window; an entity that began before the window goes on with I-."""
    labels = [IGNORED_LABEL] * len(window.model_inputs["input_ids"])
    for place, position in enumerate(window.positions, start=window.first):
        labels[position] = tags[place]
    return labels


def _f1(example: EntityExample, found: TaggedEntities) -> float:
    predicted = [candidate.span for candidate in found.predicted]
    return example_f1(count_entities(example.entities, predicted))

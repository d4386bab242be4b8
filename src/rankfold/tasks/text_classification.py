"""Labels of a text or of a pair of texts: one of them, or with `data.multi_label` any number."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rankfold.data.examples import TextExample
from rankfold.data.features import Features
from rankfold.data.tables import is_absent
from rankfold.data.text_pairs import encode_texts
from rankfold.errors import DataError
from rankfold.evaluation.work import UnitWork
from rankfold.json_lines import json_lines, member_lines
from rankfold.metrics.classification import classification_metrics_of, count_multi_label
from rankfold.nbest.choices import Ranked, rank_any_of, rank_one_of
from rankfold.nbest.tables import table_to_bytes, tables_from_bytes
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Merged, RecordedExamples, Row, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SCHEMA = pa.schema([("logits", pa.list_(pa.float32()))])


class TextClassification(Task[TextExample]):
    """Texts cut at max_length, a logit a label, labels by softmax or sigmoid."""

    auto_class = "AutoModelForSequenceClassification"
    peft_task_type = "SEQ_CLS"
    unit_name = "text"
    example_type = TextExample
    merge_settings = frozenset({"n_best_size", "num_bootstrap_resamples", "multi_label_threshold"})
    facts = BUILT_IN["text_classification"][1]

    def example_of(self, row: Row, where: str) -> TextExample:
        """As every task's, but a column `label` stands for `labels`, and an empty cell for no label."""
        labels = row.get("labels", row.get("label"))
        values = labels if isinstance(labels, list | tuple) else [labels]
        named = [_label_text(value) for value in values if not is_absent(value)]
        return super().example_of({**row, "labels": list(dict.fromkeys(named))}, where)

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        return {"labels": json.dumps(recipe.data.labels, ensure_ascii=False)}

    def model_config(self, labels: Sequence[str]) -> dict[str, Any]:
        # Which loss it is, `problem_type`, the model reads off the first batch and saves.
        return {
            "id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)},
        }

    def training_features(
        self,
        examples: Sequence[TextExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        """Tokenise texts with their labels: an int, or with `multi_label` 0.0 or 1.0 for each label."""
        numbers = {label: number for number, label in enumerate(labels)}
        _check_number_of_labels(examples, recipe)
        _check_labels(labels)
        dropped, repaired = Counter[str](), Counter[str]()
        learned: list[TextExample] = []
        targets: list[int | list[float]] = []
        for example in examples:
            known = [numbers[label] for label in example.labels if label in numbers]
            if recipe.data.multi_label:
                repaired["label that is not among data.labels"] += len(example.labels) - len(known)
                targets.append([float(number in known) for number in range(len(labels))])
            elif known:
                targets.append(known[0])
            else:
                dropped["no label, or none of data.labels"] += 1
                continue
            learned.append(example)
        features = _encoded(learned, tokenizer, recipe)
        features.columns["labels"] = targets
        return Features(features.columns, features.num_truncated, +dropped, +repaired)

    def evaluation_features(
        self,
        examples: Sequence[TextExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        _check_number_of_labels(examples, recipe)
        unknown = sum(not set(_gold(example, recipe)) <= set(labels) for example in examples)
        features = _encoded(examples, tokenizer, recipe)
        features.columns["example"] = list(range(len(examples)))
        told = {"label that training has not, counted as wrong": unknown} if unknown else {}
        return Features(features.columns, features.num_truncated, repaired=told)

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        import torch

        from rankfold.evaluation.batches import model_inputs

        labels = torch.tensor([row["labels"] for row in rows])
        return {**model_inputs(rows, tokenizer), "labels": labels}

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> bytes:
        from rankfold.evaluation.class_logits import class_logits

        logits = class_logits(model, tokenizer, work, recipe.evaluation)
        return table_to_bytes({"logits": list(logits)}, SCHEMA, first_row=work.unit.start)

    def merge(
        self,
        recorded: RecordedExamples[TextExample],
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Merged:
        rows = tables_from_bytes(recorded.payloads, recorded.rows)
        rank = rank_any_of if recipe.data.multi_label else rank_one_of
        logits = rows.column("logits").combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
        found = [
            (example, rank(row), _gold(example, recipe))
            for example, row in zip(recorded.examples, logits, strict=True)
        ]
        size = recipe.evaluation.n_best_size
        return Merged(
            predictions=member_lines(
                (example.id, _prediction(ranked, recipe, labels)) for example, ranked, _ in found
            ),
            nbest=json_lines(
                {"id": example.id, "nbest": _nbest(ranked, labels)[:size]} for example, ranked, _ in found
            ),
            details=json_lines(
                _details_row(example, gold, ranked, recipe, labels) for example, ranked, gold in found
            ),
        )

    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        return classification_metrics_of(
            details,
            labels,
            multi_label=recipe.data.multi_label,
            resamples=recipe.evaluation.num_bootstrap_resamples,
            seed=recipe.seed,
        )


def _label_text(value: Any) -> Any:
    """A label as JSON would write it where it is true or false; other numbers become text by themselves.

    1.0 is 1: Parquet has a column of whole numbers with an empty cell in floats.
    """
    if isinstance(value, bool):
        return str(value).lower()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_labels(labels: Sequence[str]) -> None:
    if len(labels) < 2:
        named = ", ".join(labels) or "none"
        raise DataError(
            f"there must be two labels at least to choose from; the training examples have {named}",
            where="data",
            remedy="Say which column has the labels: columns: {labels: COLUMN}. Where a text has a label or "
            "has not, give those that have not a label too.",
        )


def _check_number_of_labels(examples: Sequence[TextExample], recipe: Recipe) -> None:
    for example in examples:
        if len(example.labels) > 1 and not recipe.data.multi_label:
            raise DataError(
                f"the example {example.id!r} has {len(example.labels)} labels: {', '.join(example.labels)}",
                where="data",
                remedy="Set data.multi_label: true, or give every example one label.",
            )


def _gold(example: TextExample, recipe: Recipe) -> tuple[str, ...]:
    """The example's labels, without those that the recipe does not want."""
    wanted = recipe.data.labels
    return tuple(label for label in example.labels if not wanted or label in wanted)


def _encoded(examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> Features:
    encoded = encode_texts(
        [example.text for example in examples],
        [example.text_pair for example in examples],
        tokenizer,
        recipe.data.max_length,
    )
    return Features(dict(encoded.model_inputs), sum(encoded.is_truncated))


def _chosen(ranked: Ranked, recipe: Recipe) -> Ranked:
    """The best label, or with `multi_label` all that reach the threshold."""
    reached = ranked.probabilities >= recipe.evaluation.multi_label_threshold
    size = int(reached.sum()) if recipe.data.multi_label else 1
    return Ranked(ranked.order[:size], ranked.probabilities[:size])


def _prediction(ranked: Ranked, recipe: Recipe, labels: Sequence[str]) -> str | list[str]:
    names = [labels[place] for place in _chosen(ranked, recipe).order]
    return names if recipe.data.multi_label else names[0]


def _nbest(ranked: Ranked, labels: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"label": labels[place], "probability": probability}
        for place, probability in zip(ranked.order, ranked.probabilities.tolist(), strict=True)
    ]


def _details_row(
    example: TextExample, gold: Sequence[str], ranked: Ranked, recipe: Recipe, labels: Sequence[str]
) -> dict[str, Any]:
    chosen = _nbest(_chosen(ranked, recipe), labels)
    predicted = [one["label"] for one in chosen]
    return {
        "id": example.id,
        "text": example.text if example.text_pair is None else f"{example.text}\n{example.text_pair}",
        "gold": _listed(gold, recipe),
        "predicted": _listed(predicted, recipe),
        "score": _score(gold, predicted, ranked, recipe, labels),
        "gold_labels": list(gold),
        "predicted_labels": predicted,
        "probabilities": [one["probability"] for one in chosen],
    }


def _listed(labels: Sequence[str], recipe: Recipe) -> str:
    return ", ".join(labels) or ("(no label)" if recipe.data.multi_label else "")


def _score(
    gold: Sequence[str], predicted: Sequence[str], ranked: Ranked, recipe: Recipe, labels: Sequence[str]
) -> float | None:
    """How right an example is, 0..1, for looking at examples.

    With any number of labels that is their F1. With one, a mistake scores the probability that the right
    label had, so that the report lists first what the model was surest of.
    """
    if recipe.data.multi_label:
        counts = count_multi_label(gold, predicted).labels.total
        return counts.scores.f1 if counts.num_gold + counts.num_predicted else 1.0
    if not gold:
        return None
    if gold[0] == predicted[0]:
        return 1.0
    if gold[0] not in labels:
        return 0.0
    place = list(labels).index(gold[0])
    return float(ranked.probabilities[ranked.order == place][0])

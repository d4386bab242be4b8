"""What tests of language modelling tasks share: documents, and a task from them to lines of results."""

import json
from typing import Any

import models
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.data.examples import DocumentExample
from rankfold.data.features import Features
from rankfold.nbest.units import plan_units, units_of_shard
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Merged, Task

DOCUMENTS = [
    DocumentExample(f"d{index}", " ".join(models.CORPUS[: index % len(models.CORPUS) + 1]))
    for index in range(7)
]


def recipe_of(
    task: str, /, *, seed: int = 42, evaluation: dict[str, Any] | None = None, **data: Any
) -> Recipe:
    """A recipe whose rows have at most 24 tokens, and whose units hold three of them."""
    tables = {side: {"path": "unread", "format": "jsonl"} for side in ("train", "test")}
    return models.recipe(
        task,
        data={"source": None, **tables, "max_length": 24, **data},
        evaluation={"unit_size": 3, "per_device_eval_batch_size": 2, **(evaluation or {})},
        seed=seed,
    )


def rows_of(features: Features) -> list[dict[str, Any]]:
    """The rows of features."""
    return [{name: values[row] for name, values in features.columns.items()} for row in range(len(features))]


def evaluated(
    task: Task[DocumentExample],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    *,
    num_shards: int = 1,
    documents: list[DocumentExample] = DOCUMENTS,
    each_alone: bool = False,
) -> Merged:
    """Predict shard by shard, the last one first; merge all documents at once, or each by itself."""
    features = Dataset.from_dict(task.evaluation_features(documents, tokenizer, recipe, ()).columns)
    units = plan_units(len(features), recipe.evaluation.unit_size)
    payloads = {}
    for shard in reversed(range(num_shards)):
        for unit in units_of_shard(units, shard, num_shards):
            payloads[unit] = task.predict(
                model, tokenizer, features, unit, recipe, shard=f"shard {shard}", advance=models.ignore
            )
    owners, parts = features["example"], []
    ranges = [range(index, index + 1) for index in range(len(documents))]
    for some in ranges if each_alone else [range(len(documents))]:
        mine = [row for row, owner in enumerate(owners) if owner in some]
        parts.append(
            task.merge(
                [payloads[unit] for unit in units if unit.start <= mine[-1] and unit.stop > mine[0]],
                [documents[index] for index in some],
                features.data.table.slice(mine[0], len(mine)),
                recipe,
                (),
                first_example=some.start,
                first_row=mine[0],
            )
        )
    return Merged(
        *(b"".join(getattr(part, name) for part in parts) for name in ("predictions", "nbest", "details"))
    )


def details(merged: Merged) -> list[dict[str, Any]]:
    """The lines of details.jsonl."""
    return [json.loads(line) for line in merged.details.splitlines()]

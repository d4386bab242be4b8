"""What tests of language modelling tasks share: documents, recipes for them, and what to read back."""

import json
from typing import Any

import models

from rankfold.data.examples import DocumentExample
from rankfold.data.features import Features
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Merged

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


def details(merged: Merged) -> list[dict[str, Any]]:
    """The lines of details.jsonl."""
    return [json.loads(line) for line in merged.details.splitlines()]

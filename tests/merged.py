"""What a task makes of all records at once, read back from its lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from rankfold.data.examples import Example
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Merged, Task


@dataclass(frozen=True)
class Results:
    lines: Merged
    metrics: dict[str, Any]

    @property
    def predictions(self) -> dict[str, Any]:
        members = ",".join(self.lines.predictions.decode().splitlines())
        return dict(json.loads(f"{{{members}}}"))

    @property
    def nbest(self) -> list[Any]:
        return rows(self.lines.nbest)

    @property
    def details(self) -> list[Any]:
        return rows(self.lines.details)


def rows(lines: bytes) -> list[Any]:
    return [json.loads(line) for line in lines.splitlines()]


def merge_all(
    task: Task[Any],
    payloads: Sequence[bytes],
    examples: Sequence[Example],
    features: Dataset,
    recipe: Recipe,
    labels: Sequence[str] = (),
) -> Results:
    """Merge and score a whole data set, without intervals."""
    evaluation = recipe.evaluation.model_copy(update={"num_bootstrap_resamples": 0})
    settled = task.settle(recipe.model_copy(update={"evaluation": evaluation}), examples)
    table = features.data.table
    merged = task.merge(payloads, examples, table, settled, labels, first_example=0, first_row=0)
    return Results(merged, task.metrics(rows(merged.details), settled, labels))

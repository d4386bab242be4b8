"""What a task makes of examples and records, read back from its lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from models import ignore

from rankfold.data.examples import Example
from rankfold.evaluation.work import UnitWork
from rankfold.nbest.units import Unit, plan_units, units_of_shard
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Merged, RecordedExamples, Task


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
    merged = task.merge(RecordedExamples(payloads, examples, features.data.table), settled, labels)
    return Results(merged, task.metrics(rows(merged.details), settled, labels))


def predicted(
    task: Task[Any],
    model: Any,
    tokenizer: Any,
    features: Dataset,
    unit: Unit,
    recipe: Recipe,
    shard: str = "shard 0",
) -> bytes:
    """The records of a work unit."""
    work = UnitWork.of(features, unit, shard=shard, advance=ignore)
    return task.predict(model, tokenizer, work, recipe)


def evaluated(
    task: Task[Any],
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    recipe: Recipe,
    labels: Sequence[str] = (),
    *,
    unit_size: int | None = None,
    num_shards: int = 1,
    each_alone: bool = False,
) -> Merged:
    """Predict shard by shard, the last one first; merge all examples at once, or each by itself."""
    features = Dataset.from_dict(task.evaluation_features(examples, tokenizer, recipe, labels).columns)
    units = plan_units(len(features), unit_size or recipe.evaluation.unit_size)
    payloads = {
        unit: predicted(task, model, tokenizer, features, unit, recipe)
        for shard in reversed(range(num_shards))
        for unit in units_of_shard(units, shard, num_shards)
    }
    in_order = [payloads[unit] for unit in units]
    if not each_alone:
        return task.merge(RecordedExamples(in_order, examples, features.data.table), recipe, labels)
    owners, parts = features["example"], []
    for index, one in enumerate(examples):
        mine = [row for row, owner in enumerate(owners) if owner == index]
        recorded = RecordedExamples(
            payloads=[payloads[unit] for unit in units if unit.start <= mine[-1] and unit.stop > mine[0]],
            examples=[one],
            features=features.data.table.slice(mine[0], len(mine)),
            first_example=index,
            first_row=mine[0],
        )
        parts.append(task.merge(recorded, recipe, labels))
    return joined(parts)


def joined(parts: Sequence[Merged]) -> Merged:
    """The lines of ranges of examples, one after the other."""
    names = ("predictions", "nbest", "details")
    return Merged(*(b"".join(getattr(part, name) for part in parts) for name in names))

"""Whole runs of tasks whose data are tables: a row an example."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tiny_runs
import yaml

from rankfold.run_folder import RunFolder

Rows = Sequence[Mapping[str, Any]]


def finish(
    folder: Path, task: str, model: Path, *, train: Rows, test: Rows, columns: Mapping[str, str] | None = None
) -> RunFolder:
    """Run every stage of a task on these rows; `columns` are the recipe's."""
    sources = {}
    for side, rows in (("train", train), ("test", test)):
        path = folder / f"{side}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources[side] = {"path": str(path), "format": "jsonl", "columns": dict(columns or {})}
    run = tiny_runs.new_run(folder, "token_classification", model)
    recipe = yaml.safe_load(run.recipe.read_text())
    evaluation = {"unit_size": 4, "per_device_eval_batch_size": 2}
    run.recipe.write_text(
        yaml.safe_dump(
            recipe | {"task": task, "data": {**sources, "max_length": 64}, "evaluation": evaluation}
        )
    )
    return tiny_runs.finish(run)

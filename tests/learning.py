"""Runs in this process that learn something real, and the rows of the table of what they learned."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from commands import read

from launch.new_run import create_run
from launch.planning import plan_recipe
from rankfold.atomic import write_json
from rankfold.run_folder import RunFolder
from rankfold.stages.evaluate import evaluate
from rankfold.stages.merge import merge
from rankfold.stages.prepare import prepare
from rankfold.stages.train import train
from rankfold.task_facts import task_facts

METHODS: Mapping[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "lora": {"method": "lora", "r": 16, "lora_alpha": 32},
}

TABLE_FOLDER = "RANKFOLD_TASK_TABLE"
"""Where set, a folder that gets one JSON file a run, from which benchmarks/tasks.py makes its table."""


TESTED = tuple(METHODS) if os.environ.get(TABLE_FOLDER) else ("lora",)
"""Methods that are tested: one a task, the one with more to go wrong; all of them for the table."""


@dataclass(frozen=True)
class Learned:
    """What a run came to: a metric before and after training, and by chance."""

    task: str
    method: str
    model: str
    data: str
    metric: str
    before: float
    after: float
    chance: float | None
    seconds: float

    @property
    def gained(self) -> float:
        """By how much the metric is better than before."""
        change = self.after - self.before
        return -change if task_facts(self.task).metric(self.metric).better == "lower" else change


def learn(
    folder: Path,
    recipe: Mapping[str, Any],
    *,
    method: str,
    data: str,
    chance: float | str | None = None,
    metric: str | None = None,
) -> tuple[RunFolder, Learned]:
    """Run every stage of a recipe here and return the run and what it learned.

    Args:
        folder: Where the run goes.
        recipe: The recipe's values, without an adapter.
        method: One of METHODS.
        data: What the data set is called in the table.
        chance: The score of a guess, or the metric that holds it.
        metric: What is told of it; empty for the task's first headline metric.
    """
    model = {**recipe["model"], "adapter": METHODS[method]}
    path = folder / f"{recipe['task']}-{method}.yaml"
    path.write_text(yaml.safe_dump({"name": "learned", **recipe, "model": model}, allow_unicode=True))
    run = create_run(
        plan_recipe(path, [], cluster="local", profile=None), folder / "runs", command=["launch", "submit"]
    )
    started = time.monotonic()
    prepare(run)
    train(run)
    for variant in ("base", "fine_tuned"):
        evaluate(run, variant, 0, 1)
    merge(run)
    before, after = read(run.metrics("base")), read(run.metrics("fine_tuned"))
    metric = metric or task_facts(recipe["task"]).headline[0]
    learned = Learned(
        task=recipe["task"],
        method=method,
        model=Path(str(recipe["model"]["name_or_path"])).name,
        data=data,
        metric=metric,
        before=before[metric],
        after=after[metric],
        chance=after[chance] if isinstance(chance, str) else chance,
        seconds=time.monotonic() - started,
    )
    if os.environ.get(TABLE_FOLDER):
        write_json(Path(os.environ[TABLE_FOLDER]) / f"{learned.task}-{method}.json", asdict(learned))
    print(json.dumps(asdict(learned)))
    return run, learned

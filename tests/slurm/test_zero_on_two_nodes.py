"""ZeRO over two nodes of two ranks, chained to an array of evaluation shards and a merge."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, wait_until
from commands import read
from tiny_runs import entities_file

from launch.new_run import create_run
from launch.planning import plan_recipe
from rankfold.run_folder import RunFolder
from rankfold.stages.evaluate import evaluate
from rankfold.stages.merge import merge
from rankfold.stages.prepare import prepare
from rankfold.stages.train import train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RECIPE = """
name: {name}
task: generative_ner
model: {{name_or_path: {model}, adapter: {{r: 4}}}}
data:
  train: {{path: {train}, format: spans}}
  test: {{path: {test}, format: spans}}
  max_length: 256
train:
  max_steps: 12
  learning_rate: 0.005
  per_device_train_batch_size: {batch_size}
  logging_steps: 1
distributed: {{strategy: {strategy}}}
evaluation:
  baseline: false
  shards: {shards}
  unit_size: 2
  per_device_eval_batch_size: 2
  max_new_tokens: 8
  num_return_sequences: 2
resources:
  prepare: {{cpus_per_task: 1}}
  train: {{nodes: {nodes}, tasks_per_node: {tasks_per_node}, cpus_per_task: 1}}
  evaluate: {{cpus_per_task: 1}}
  merge: {{cpus_per_task: 1}}
"""
# Eight examples a step, however many ranks share them.
ONE_RANK: dict[str, Any] = {"nodes": 1, "tasks_per_node": 1, "batch_size": 8, "strategy": "none", "shards": 1}
LAYOUTS: dict[str, dict[str, Any]] = {
    "two-ranks": {"nodes": 2, "tasks_per_node": 1, "batch_size": 4, "strategy": "ddp", "shards": 1},
    "four-ranks-zero2": {"nodes": 2, "tasks_per_node": 2, "batch_size": 2, "strategy": "zero2", "shards": 4},
    "four-ranks-zero3": {"nodes": 2, "tasks_per_node": 2, "batch_size": 2, "strategy": "zero3", "shards": 1},
}
LOSS_TOLERANCE = 2e-3
"""Relative: float32 sums in another order, over twelve steps of a large learning rate."""


def test_ranks_and_zero_stages_agree_and_a_cancelled_shard_alone_is_made_again(
    cluster: Cluster, causal_folder: Path, tmp_path: Path
) -> None:
    files = {
        side: entities_file(tmp_path / f"{side}.jsonl", number)["path"]
        for side, number in (("train", 40), ("test", 16))
    }

    def written(name: str, layout: dict[str, Any]) -> Path:
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(RECIPE.format(name=name, model=causal_folder, **files, **layout))
        return recipe

    runs = {}
    for name, layout in LAYOUTS.items():
        recipe = written(name, layout)
        told = cluster.launch("submit", str(recipe), "--json", runs=tmp_path / "runs").stdout
        runs[name] = RunFolder(Path(json.loads(told)["folder"]))

    broken = runs["four-ranks-zero2"]
    array_task = read(broken.job_ids)["evaluate-fine_tuned-2"]
    assert array_task.endswith("_2")
    cluster.run("scancel", array_task)
    alone = whole_run_here(written("one-rank", ONE_RANK), tmp_path / "runs")
    ended = {name: wait_for_end(cluster, run) for name, run in runs.items()}
    assert ended.pop("four-ranks-zero2") != "completed"
    assert set(ended.values()) == {"completed"}

    wait_until(
        lambda: [read(broken.job_state(f"evaluate-fine_tuned-{shard}"))["state"] for shard in (0, 1, 3)],
        lambda states: set(states) == {"completed"},
        timeout_s=200,
        pause_s=1,
    )
    untouched = read(broken.attempts("train"))
    cluster.launch("resume", str(broken.root), runs=tmp_path / "runs")
    assert wait_for_end(cluster, broken) == "completed"
    assert read(broken.attempts("train")) == untouched
    assert len(read(broken.attempts("evaluate-fine_tuned-1"))) == 1

    reference = read(alone.train_summary)["log_history"]
    for run in runs.values():
        history = read(run.train_summary)["log_history"]
        assert [entry["loss"] for entry in history] == pytest.approx(
            [entry["loss"] for entry in reference], rel=LOSS_TOLERANCE
        )
        assert len(read(run.predictions("fine_tuned"))) == 16
        assert read(run.metrics("fine_tuned")) == read(alone.metrics("fine_tuned"))


def whole_run_here(recipe: Path, runs: Path) -> RunFolder:
    """Every stage in this process: one rank, one shard."""
    run = create_run(plan_recipe(recipe, [], cluster="local", profile=None), runs, command=["launch"])
    prepare(run)
    train(run)
    evaluate(run, "fine_tuned", 0, 1)
    merge(run)
    return run


def wait_for_end(cluster: Cluster, run: RunFolder, seconds: float = 400) -> str:
    """The state in which a run ends."""
    deadline = time.monotonic() + seconds
    while True:
        told = cluster.launch("status", str(run.root), "--json", runs=run.root.parent).stdout
        state: str = json.loads(told)["state"]
        if state not in ("pending", "running"):
            return state
        assert time.monotonic() < deadline, cluster.launch("why", str(run.root), runs=run.root.parent).stdout
        time.sleep(2)

"""The one command to type next, with the run's own values in it."""

from __future__ import annotations

import shlex
from typing import Any

from launch.plan import PlannedJob
from launch.states import read_json
from launch.why.diagnosis import Next
from rankfold.checkpoints import complete_steps
from rankfold.run_folder import RunFolder

MEMORY_GB = 64
"""What to ask for where nothing was asked for before."""


def next_command(kind: Next, run: RunFolder, name: str, job: PlannedJob, rank: int | None) -> str:
    """Write a command for a run.

    Args:
        name: What stands for the run in commands.
        job: The job that failed.
        rank: The rank that failed first.
    """
    if kind == "logs" and rank is not None:
        return f"launch logs {name} --stage {job.name} --rank {rank}"
    if kind in ("logs", "batch"):
        return f"launch logs {name} --stage {job.name}"
    if kind == "fetch":
        return f"launch fetch {shlex.quote(str(run.recipe))}"
    if kind == "submit":
        return shlex.join((read_json(run.run) or {}).get("command") or ["launch", "submit", str(run.recipe)])
    if kind == "smaller_batch":
        return _submit(run, _smaller_batch(_recipe(run), job))
    if kind == "more_memory":
        return _submit(run, _more_memory(_recipe(run), job))
    if kind == "lower_rate":
        return _submit(run, _lower_rate(_recipe(run)))
    if kind == "more_time" and not _goes_on(run, job):
        return _submit(run, {f"resources.{job.stage}.time_limit_min": 2 * job.time_limit_min})
    return f"launch resume {name}"


def _submit(run: RunFolder, overrides: dict[str, Any]) -> str:
    words = [f"{key}={value}" for key, value in overrides.items()]
    return shlex.join(["launch", "submit", str(run.recipe), *words])


def _recipe(run: RunFolder) -> dict[str, Any]:
    """The resolved recipe, where every value is written out; empty where the run has none."""
    import yaml

    return (yaml.safe_load(run.recipe.read_text(encoding="utf-8")) or {}) if run.recipe.is_file() else {}


def _smaller_batch(recipe: dict[str, Any], job: PlannedJob) -> dict[str, Any]:
    """Half the batch; in training with the same global batch, so that the result stays the same."""
    if job.stage == "evaluate":
        batch = recipe.get("evaluation", {}).get("per_device_eval_batch_size", 16)
        if batch > 1:
            return {"evaluation.per_device_eval_batch_size": batch // 2}
        return {"model.torch_dtype": "bfloat16"}
    train = recipe.get("train", {})
    batch, steps = train.get("per_device_train_batch_size", 8), train.get("gradient_accumulation_steps", 1)
    if job.stage != "train":
        return _more_memory(recipe, job)
    if batch == 1:
        return {"train.gradient_checkpointing": "true", "distributed.strategy": "zero3"}
    return {
        "train.per_device_train_batch_size": batch // 2,
        "train.gradient_accumulation_steps": steps * batch // (batch // 2),
    }


def _more_memory(recipe: dict[str, Any], job: PlannedJob) -> dict[str, Any]:
    asked = recipe.get("resources", {}).get(job.stage, {}).get("memory_gb")
    return {f"resources.{job.stage}.memory_gb": 2 * asked if asked else MEMORY_GB}


def _lower_rate(recipe: dict[str, Any]) -> dict[str, Any]:
    if recipe.get("model", {}).get("torch_dtype") == "float16":
        return {"model.torch_dtype": "bfloat16"}
    return {"train.learning_rate": f"{recipe.get('train', {}).get('learning_rate', 5e-5) / 10:g}"}


def _goes_on(run: RunFolder, job: PlannedJob) -> bool:
    """Whether another attempt would begin further on than the first."""
    if job.stage == "train":
        return bool(complete_steps(run.checkpoints))
    return job.stage == "evaluate" and any(run.shards(job.variant or "").glob("*"))

"""Runs as failures leave them: ranks that failed, the attempt at an end, what the batch script wrote."""

import json
from typing import Any

import yaml

from launch.attempts import Attempt, Cause, write_attempts
from launch.machine import Machine
from launch.plan import make_plan
from launch.processes import Process
from launch.states import JobState, RankState
from launch.why.diagnose import diagnose
from launch.why.diagnosis import Diagnosis
from rankfold import atomic
from rankfold.run_folder import RunFolder

EARLY = "2026-01-01T00:00:00.000+00:00"
LATE = "2026-01-01T00:00:01.000+00:00"


def run_on_slurm(make_run: Any, make_recipe: Any) -> RunFolder:
    """A run on Slurm whose training has four ranks; prepare has completed."""
    made: RunFolder = make_run()
    recipe = make_recipe(
        resources={"train": {"nodes": 2, "tasks_per_node": 2}}, evaluation={"baseline": False}
    )
    plan = make_plan(recipe, cluster="slurm", machine=Machine(1), num_train_examples=None)
    atomic.write_json(made.plan, plan.to_json())
    made.recipe.write_text(yaml.safe_dump(json.loads(recipe.model_dump_json())))
    atomic.write_json(made.job_ids, {job.name: str(40 + number) for number, job in enumerate(plan.jobs)})
    JobState("prepare", "prepare", "pending", 1).begin().end("completed").write(made)
    return made


def rank(
    run: RunFolder, number: int, error: str, log: str = "", *, ended: str = LATE, attempt: int = 1
) -> None:
    """A rank of train that failed."""
    process = Process(1, "0", f"node{number // 2 + 1}")
    RankState(number, process, "failed", EARLY, attempt, ended, error).write(run, "train")
    atomic.write_text(run.log("train", number), f"train starts as {number + 1} of 4 ranks\n{log}")


def fail(run: RunFolder, cause: Cause, error: str = "", *, first: int | None = None, batch: str = "") -> None:
    """An attempt at train that ended so."""
    write_attempts(run, "train", [Attempt(1, "41", "node[1-2]", EARLY, 0, LATE, cause, error or None, first)])
    JobState("train", "train", "running", 4, started=EARLY).end("failed", error).write(run)
    atomic.write_text(run.output("train", "41"), f"launch: attempt 1 of train begins on node[1-2]\n{batch}")


def traceback(error: str) -> str:
    frames = "".join(
        f'  File "/code/{name}.py", line {n}, in {name}\n    {name}()\n' for n, name in enumerate("abcde")
    )
    return f"some words before\nTraceback (most recent call last):\n{frames}{error}\ntrain failed: {error}\n"


def tell(run: RunFolder) -> Diagnosis:
    return diagnose(run, "RUN")

"""All stages in this process on a slice of the data: breakpoints work, nothing is redirected."""

from __future__ import annotations

import os
import sys
import time
from bdb import BdbQuit
from collections.abc import Sequence
from pathlib import Path

from launch import preflight
from launch.fetch import ensure_fetched
from launch.job import RankJob, describe, run_stage
from launch.machine import Machine, this_machine
from launch.new_run import create_run
from launch.plan import PlannedJob
from launch.planning import plan_recipe
from launch.processes import Process
from launch.rendezvous import open_meeting
from launch.states import DriverState, JobState, RankState, State, mark_cancelled, now
from rankfold.run_folder import RunFolder

PREFIX = "debug-"
SLICE = (
    "data.max_train_examples=16",
    "data.max_validation_examples=8",
    "data.max_test_examples=8",
    "train.max_steps=4",
    "evaluation.shards=1",
    "evaluation.merge_shards=1",
    "evaluation.unit_size=4",
    "evaluation.per_device_eval_batch_size=4",
    "distributed.strategy=none",
)
"""Laid over the recipe, under the user's own overrides: enough to pass through every line once."""


def debug_overrides(machine: Machine) -> tuple[str, ...]:
    """The slice, and one rank for every stage, with a GPU where there is one."""
    gpus = 1 if machine.gpus else 0
    layout = f"nodes=1 gpus_per_node={gpus} tasks_per_node=1".split()
    ranks = (f"resources.{stage}.{field}" for stage in ("train", "evaluate") for field in layout)
    return (*SLICE, *ranks)


def debug(recipe: Path, overrides: Sequence[str], runs_folder: Path) -> RunFolder:
    """Run every stage of a recipe here and now; return the run.

    Raises:
        UserError: The recipe, the data or the model is wrong.
        Exception: Whatever a stage raises, so that a debugger can look at it.
    """
    machine = this_machine()
    planned = plan_recipe(recipe, [*debug_overrides(machine), *overrides], cluster="local", profile=None)
    preflight.check(planned.loaded.recipe, runs_folder)
    ensure_fetched(planned)
    run = create_run(planned, runs_folder, prefix=PREFIX)
    print(f"{run.run_id}: every stage in this process, on a slice of the data", flush=True)
    _set_environment(run, machine)
    driver = DriverState(Process.this(), "running", now(), {}).write(run)
    outcome: State = "failed"
    try:
        for job in planned.plan.jobs:
            _run_job(run, job)
        outcome = "completed"
    except (KeyboardInterrupt, BdbQuit):
        outcome = "cancelled"
        raise KeyboardInterrupt from None
    finally:
        error = None if outcome == "completed" else describe(sys.exception() or KeyboardInterrupt())
        mark_cancelled(run, planned.plan)
        driver.end(outcome, error).write(run)
    return run


def _run_job(run: RunFolder, job: PlannedJob) -> None:
    state = JobState(job.name, job.stage, "pending", job.ranks).begin().write(run)
    rank = RankState(0, Process.this(), "running", now()).write(run, job.name)
    print(f"── {job.name}", flush=True)
    started = time.monotonic()
    try:
        run_stage(RankJob.of(run, job))
    except BaseException as error:
        outcome: State = "cancelled" if isinstance(error, KeyboardInterrupt | BdbQuit) else "failed"
        rank.end(outcome, describe(error)).write(run, job.name)
        state.end(outcome, describe(error)).write(run)
        raise
    rank.end("completed").write(run, job.name)
    state.end("completed").write(run)
    print(f"── {job.name} completed in {time.monotonic() - started:.1f} s", flush=True)


def _set_environment(run: RunFolder, machine: Machine) -> None:
    """What a rank finds in a job of its own; torch reads it when the first stage imports it."""
    run.jobs.mkdir(exist_ok=True)
    meeting, listener = open_meeting(run.jobs / "rendezvous.json", single_node=True)
    # Whoever wants a process group of one rank binds the port again.
    listener.close()
    os.environ.update(
        RANK="0",
        LOCAL_RANK="0",
        WORLD_SIZE="1",
        LOCAL_WORLD_SIZE="1",
        MASTER_ADDR=meeting.host,
        MASTER_PORT=str(meeting.port),
        TOKENIZERS_PARALLELISM="false",
        CUDA_VISIBLE_DEVICES=machine.gpus[0] if machine.gpus else "",
    )

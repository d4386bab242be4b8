"""Stopping a run: what is written before, what is asked of Slurm, what is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm

from launch import cancel
from launch.attempts import Attempt, begin_attempt, read_attempts, write_attempts
from launch.cancel import cancel_run
from launch.cli import main
from launch.machine import Machine
from launch.plan import Plan, make_plan
from launch.processes import Process
from launch.states import DriverState, JobState, RankState, now, read_json, read_rank_states
from launch.status import read_status
from rankfold import atomic
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder

WAITING = "".join(f"{job_id}|PENDING|Priority||N/A|1:00\n" for job_id in ("42_0", "42_1", "43"))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A queue from which nothing goes away, whatever is cancelled."""
    fake = FakeSlurm(tmp_path / "bin", monkeypatch)
    fake.answer("squeue", "41|RUNNING|None|node1|N/A|1:00\n" + WAITING)
    monkeypatch.setattr(cancel, "QUEUE_PATIENCE_S", 0)
    return fake


@pytest.fixture
def run(make_run: Any, make_recipe: Any) -> RunFolder:
    """Prepare has completed, train runs as its second attempt, the shards wait."""
    made: RunFolder = make_run()
    recipe = make_recipe(evaluation={"shards": 2, "baseline": False})
    plan = make_plan(recipe, cluster="slurm", machine=Machine(1), num_train_examples=None)
    atomic.write_json(made.plan, plan.to_json())
    ids = {"prepare": "40", "train": "41", "evaluate-fine_tuned-0": "42_0", "evaluate-fine_tuned-1": "42_1"}
    atomic.write_json(made.job_ids, {**ids, "merge": "43"})
    JobState("prepare", "prepare", "pending", 1).begin().end("completed").write(made)
    JobState("train", "train", "pending", 1).begin().write(made)
    write_attempts(made, "train", [Attempt(1, "41", "node1", now(), 0, now(), "preempted")])
    begin_attempt(made, plan.job("train"), slurm_id="41", nodes="node1")
    RankState(0, Process.this(), "running", now(), attempt=2).write(made, "train")
    return made


def test_everything_that_has_not_ended_is_cancelled_and_told(
    run: RunFolder, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cancel", str(run.root)]) == 0
    told = capsys.readouterr().out
    assert told == (
        "small-1 is cancelled\n"
        "  running: train\n"
        "  pending: evaluate-fine_tuned-0, evaluate-fine_tuned-1, merge\n"
    )
    assert "scancel 41 42 43" in slurm.calls
    status = read_status(run)
    assert status.state == "cancelled"
    assert {job.state for job in status.jobs[1:]} == {"cancelled"}
    assert status.cancelled is not None
    assert status.cancelled["by"]
    assert [attempt.cause for attempt in read_attempts(run, "train")] == ["preempted", "cancelled"]
    assert [rank.state for rank in read_rank_states(run, "train", 1)] == ["cancelled"]


def test_that_it_is_cancelled_is_written_before_anything_is_stopped(run: RunFolder, slurm: FakeSlurm) -> None:
    """Whatever ends from now on is not tried again."""
    (slurm.folder / "scancel").write_text(f'#!/bin/sh\ncp "{run.cancelled}" "{run.root}/seen"\n')
    cancel_run(run)
    assert read_json(run.root / "seen") == read_json(run.cancelled)


def test_a_job_that_comes_back_into_the_queue_is_cancelled_again(
    run: RunFolder, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requeue may have been on the way when it was cancelled."""

    gone = WAITING.replace("PENDING", "CANCELLED")

    class Clock:
        times = iter((0, 1, 2, 3))

        @classmethod
        def monotonic(cls) -> float:
            return next(cls.times)

        @classmethod
        def sleep(cls, seconds: float) -> None:
            slurm.answer("squeue", "41|PENDING|BeginTime||N/A|1:00\n" + gone)

    monkeypatch.setattr(cancel, "QUEUE_PATIENCE_S", 3)
    monkeypatch.setattr(cancel, "time", Clock)
    cancel_run(run)
    cancelled = [call for call in slurm.calls if call.startswith("scancel")]
    assert cancelled == ["scancel 41 42 43", "scancel 41 42 43", "scancel 41"]


@pytest.mark.usefixtures("slurm")
def test_a_run_that_has_ended_is_left_as_it_was(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for job in Plan.from_json(read_json(run.plan)).jobs:
        JobState(job.name, job.stage, "pending", 1).begin().end("completed").write(run)
    assert main(["cancel", str(run.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run_id": run.run_id, "cancelled": False, "stopped": []}
    assert not run.cancelled.exists()


@pytest.mark.usefixtures("slurm")
def test_what_failed_before_stays_failed(run: RunFolder, slurm: FakeSlurm) -> None:
    slurm.answer("squeue", "41|TIMEOUT|TimeLimit|node1|N/A|1:00\n" + WAITING)
    assert "train" not in [job.job for job in cancel_run(run)]
    states = {job.job: job.state for job in read_status(run).jobs}
    assert (states["train"], states["evaluate-fine_tuned-0"]) == ("failed", "cancelled")


def test_a_run_on_another_host_says_where_to_cancel_it(make_run: Any) -> None:
    run = make_run()
    DriverState(Process(1, "0", "elsewhere"), "running", now(), {}).write(run)
    with pytest.raises(UserError, match="it runs on elsewhere"):
        cancel_run(run)
    assert not run.cancelled.exists()

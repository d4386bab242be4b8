"""The local driver with real processes and cheap stages."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from launch.attempts import read_attempts
from launch.cancel import cancel_run
from launch.job import RankJob
from launch.local import driver
from launch.local.driving import Driver, MakeTask
from launch.machine import Machine
from launch.plan import Plan, PlannedJob
from launch.processes import Process
from launch.states import JobState, read_driver_state, read_job_state, read_json, read_rank_states
from launch.status import read_status
from rankfold.errors import DataError, OperationalError
from rankfold.run_folder import RunFolder

TWO_RANKS = {"resources": {"train": {"tasks_per_node": 2}}}
NO_BASELINE = {"evaluation": {"shards": 1, "baseline": False}}

TWO_CORES = Machine(2)

Stage = Callable[[RankJob], None]


def task_maker(stage: Stage) -> MakeTask:
    """Ranks as in a real run, but for the stage they call."""

    def make_task(run: RunFolder, job: PlannedJob, gpus: tuple[str, ...]) -> Callable[[], None]:
        rank_job = RankJob.of(run, job, gpus=gpus)

        def task() -> None:
            from launch import job as module

            setattr(module, "run_stage", lambda job, lifeline: stage(job))  # noqa: B010 (a fake, in another process)
            rank_job()

        return task

    return make_task


def drive(run: RunFolder, stage: Stage, machine: Machine = TWO_CORES) -> int:
    return Driver(run, Plan.from_json(read_json(run.plan)), machine, task_maker(stage)).run_plan()


def states(run: RunFolder) -> dict[str, str]:
    plan = Plan.from_json(read_json(run.plan))
    return {job.name: state_of(run, job.name).state for job in plan.jobs}


def state_of(run: RunFolder, job: str) -> JobState:
    state = read_job_state(run, job)
    assert state is not None
    return state


def test_every_job_runs_after_what_it_needs_and_its_ranks_know_their_place(make_run: Any) -> None:
    run = make_run(**TWO_RANKS, **NO_BASELINE)

    def stage(job: RankJob) -> None:
        import os

        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS")
        line = " ".join(os.environ[name] for name in names)
        (job.run.root / f"{job.job}.{os.environ['RANK']}.{os.environ['MASTER_PORT']}").write_text(line)
        os.write(1, "来自本地代码\n".encode())

    assert drive(run, stage) == 0
    assert set(states(run).values()) == {"completed"}
    jobs = [state_of(run, name) for name in ("prepare", "train", "evaluate-fine_tuned-0", "merge")]
    for before, after in pairwise(jobs):
        assert str(before.ended) <= str(after.started)
    first, second = sorted(run.root.glob("train.*"))
    assert first.name.rpartition(".")[2] == second.name.rpartition(".")[2]
    assert first.read_text() == "0 0 2 2 127.0.0.1 1"
    assert second.read_text() == "1 1 2 2 127.0.0.1 1"
    log = run.log("train", 1).read_text()
    assert "train starts as 2 of 2 ranks" in log
    assert "来自本地代码" in log
    assert "train completed in" in log


def test_a_rank_that_is_killed_every_time_ends_the_run_and_is_named(make_run: Any) -> None:
    run = make_run(**TWO_RANKS, **NO_BASELINE)

    def stage(job: RankJob) -> None:
        import os
        import signal
        import threading

        if job.stage == "train" and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        if job.stage == "train":
            threading.Event().wait()

    assert drive(run, stage) == 1
    train = state_of(run, "train")
    assert train.state == "failed"
    assert str(train.error).startswith("rank 1: was killed by signal 9 (SIGKILL)")
    assert str(train.error).endswith("3 attempts in a row began at step 0 and got no further")
    causes = [attempt.cause for attempt in read_attempts(run, "train")]
    assert causes == ["killed", "killed", "no_progress"]
    assert states(run) == {
        "prepare": "completed",
        "train": "failed",
        "evaluate-fine_tuned-0": "cancelled",
        "merge": "cancelled",
    }
    ranks = read_rank_states(run, "train", 2)
    assert [rank.state for rank in ranks] == ["cancelled", "failed"]
    assert not any(rank.process.is_alive() for rank in ranks)
    status = read_status(run)
    assert (status.state, status.failed_job) == ("failed", "train")
    driver = read_driver_state(run)
    assert driver is not None
    assert str(driver.error).startswith("train: rank 1: was killed")


def test_a_rank_that_is_killed_once_is_tried_again_and_the_run_completes(make_run: Any) -> None:
    run = make_run(**NO_BASELINE)

    def stage(job: RankJob) -> None:
        import os
        import signal

        if job.stage == "train" and os.environ["LAUNCH_ATTEMPT"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    assert drive(run, stage) == 0
    assert set(states(run).values()) == {"completed"}
    assert [attempt.cause for attempt in read_attempts(run, "train")] == ["killed", "completed"]
    assert [attempt.cause for attempt in read_attempts(run, "prepare")] == ["completed"]


def test_a_user_s_mistake_is_told_without_a_traceback_and_others_with_one(make_run: Any) -> None:
    run, other = make_run(), make_run("small-2")

    def mistaken(job: RankJob) -> None:
        raise DataError("line is no JSON", where="data.jsonl:7", remedy="Correct it.")

    def broken(job: RankJob) -> None:
        raise ZeroDivisionError("division of 数 by zero")

    assert drive(run, mistaken) == 1
    assert state_of(run, "prepare").error == "rank 0: data.jsonl:7: line is no JSON\n  → Correct it."
    assert "Traceback" not in run.log("prepare", 0).read_text()
    assert drive(other, broken) == 1
    assert state_of(other, "prepare").error == "rank 0: ZeroDivisionError: division of 数 by zero"
    assert "Traceback" in other.log("prepare", 0).read_text()


def test_a_job_over_its_time_limit_is_ended_and_the_limit_is_named(make_run: Any) -> None:
    run = make_run(resources={"prepare": {"time_limit_min": 1}})
    plan = read_json(run.plan)
    plan["jobs"][0]["time_limit_min"] = 0
    run.plan.write_text(json.dumps(plan))

    def stage(job: RankJob) -> None:
        raise AssertionError("never gets here")

    assert drive(run, stage) == 1
    error = "the time limit of 0 min is over; raise resources.prepare.time_limit_min"
    assert state_of(run, "prepare").error == error
    assert [attempt.cause for attempt in read_attempts(run, "prepare")] == ["time_limit"]


def test_shards_run_side_by_side_but_never_more_than_fit(make_run: Any) -> None:
    run = make_run(evaluation={"shards": 3, "baseline": False})

    assert drive(run, lambda job: None) == 0
    shards = [state_of(run, f"evaluate-fine_tuned-{shard}") for shard in range(3)]
    assert str(shards[1].started) < str(shards[0].ended)
    assert str(shards[2].started) >= min(str(shards[0].ended), str(shards[1].ended))


def test_cancel_from_another_process_stops_driver_ranks_and_their_children(make_run: Any) -> None:
    run = make_run(**NO_BASELINE)

    def stage(job: RankJob) -> None:
        import subprocess

        child = subprocess.Popen(["sleep", "600"])
        (job.run.root / "child.tmp").write_text(str(child.pid))
        (job.run.root / "child.tmp").rename(job.run.root / "child")
        child.wait()

    driver = start_driver_process(run, stage)
    try:
        wait_until(lambda: (run.root / "child").exists())
        child = Process.of(int((run.root / "child").read_text()))
        assert read_status(run).state == "running"
        assert child.is_alive()
        assert cancel_run(run)
        assert driver.wait(10) == 1
    finally:
        driver.kill()
        driver.wait()
    assert not child.is_alive()
    assert set(states(run).values()) == {"cancelled"}
    assert read_status(run).state == "cancelled"
    assert not cancel_run(run)


def test_a_driver_that_was_killed_is_a_failed_run_and_its_ranks_end(make_run: Any) -> None:
    run = make_run(**NO_BASELINE)

    def stage(job: RankJob) -> None:
        import threading

        (job.run.root / "busy").touch()
        threading.Event().wait()

    driver = start_driver_process(run, stage)
    wait_until((run.root / "busy").exists)
    driver.kill()
    driver.wait()
    status = read_status(run)
    assert status.state == "failed"
    assert str(status.error).startswith("the driver is gone")
    [rank] = read_rank_states(run, "prepare", 1)
    wait_until(lambda: not rank.process.is_alive())


def wait_until(condition: Callable[[], bool], patience_s: float = 60) -> None:
    """Wait for another process; how long does not matter to any result."""
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.02)


def start_driver_process(run: RunFolder, stage: Stage) -> "subprocess.Popen[bytes]":
    """Start the driver as `launch submit` does, but with another stage."""
    from submitit.core.utils import cloudpickle_dump

    task = run.root / "make_task.pkl"
    cloudpickle_dump(task_maker(stage), task)
    code = (
        "import pickle, sys, pathlib; from launch.local.driver import drive; "
        "from rankfold.run_folder import RunFolder; root = pathlib.Path(sys.argv[1]); "
        "sys.exit(drive(RunFolder(root), pickle.loads((root / 'make_task.pkl').read_bytes())))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(run.root)], start_new_session=True)


def test_a_driver_that_is_too_slow_to_start_is_ended_as_nobody_waits_for_it(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(driver, "START_TIMEOUT_S", 0.0)
    with pytest.raises(OperationalError, match="the driver process did not start"):
        driver.start_driver(make_run())
    assert started[0].returncode == -signal.SIGKILL

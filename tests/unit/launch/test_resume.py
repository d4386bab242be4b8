"""Going on with a run: only what is missing, whatever states were left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from launch import new_run, resume
from launch.cli import main
from launch.job import RankJob
from launch.local import driver
from launch.machine import Machine
from launch.plan import Plan, make_plan
from launch.processes import Process
from launch.profiles.profile import ClusterProfile
from launch.resume import missing_jobs, resume_run
from launch.slurm import answers, submission
from launch.slurm.answers import QueuedJob
from launch.snapshot import Code
from launch.states import (
    DriverState,
    JobState,
    State,
    now,
    read_driver_state,
    read_job_state,
    read_json,
    read_rank_states,
)
from launch.status import read_status
from rankfold import atomic
from rankfold.errors import OperationalError, UserError
from rankfold.recipe.load import load_recipe, resolved_yaml
from rankfold.run_folder import RunFolder, job_name
from rankfold.stages import done

JOBS = [
    "prepare",
    "evaluate-base-0",
    "evaluate-base-1",
    "train",
    "evaluate-fine_tuned-0",
    "evaluate-fine_tuned-1",
    "merge",
]


@pytest.fixture(autouse=True)
def _results_are_marks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job counts as done where it left a mark, but for the tests of real results."""

    def is_done(run: RunFolder, stage: str, variant: str | None, shard: int | None, num_shards: int) -> bool:
        return mark(run, job_name(stage, variant, shard)).exists()

    if "ended" not in request.fixturenames:
        monkeypatch.setattr(done, "is_done", is_done)


def mark(run: RunFolder, job: str) -> Path:
    return run.root / f"{job}.done"


def left(run: RunFolder, states: dict[str, Any], *, driver: State | None = "failed") -> RunFolder:
    """Leave a run with these states; what completed left its mark."""
    for job in read_json(run.plan)["jobs"]:
        state = JobState(job["name"], job["stage"], "pending", 1)
        told = states.get(job["name"], "cancelled")
        state.begin().end(told, "no more" if told == "failed" else None).write(run)
        if told == "completed":
            mark(run, job["name"]).touch()
    if driver is not None:
        DriverState(Process.this(), "running", now(), {}).end(driver).write(run)
    return run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[RunFolder]:
    """The runs whose driver was asked for."""
    runs: list[RunFolder] = []

    def start(run: RunFolder) -> int:
        assert not run.driver_state.exists()
        runs.append(run)
        return 4711

    monkeypatch.setattr(driver, "start_driver", start)
    return runs


def states(run: RunFolder) -> dict[str, str]:
    return {name: state.state for name in JOBS if (state := read_job_state(run, name))}


def test_a_failed_shard_runs_again_with_the_merge_after_it_and_nothing_else(
    make_run: Any, started: list[RunFolder]
) -> None:
    run = left(make_run(), dict.fromkeys(JOBS[:-2], "completed") | {"evaluate-fine_tuned-1": "failed"})
    atomic.write_json(run.cancelled, {"by": "somebody"})
    assert resume_run(run).jobs == ("evaluate-fine_tuned-1", "merge")
    assert started == [run]
    assert states(run) == dict.fromkeys(JOBS[:-2], "completed") | {
        "evaluate-fine_tuned-1": "pending",
        "merge": "pending",
    }
    assert not run.cancelled.exists()


def test_results_count_and_not_what_the_states_say(make_run: Any, started: list[RunFolder]) -> None:
    run = left(make_run(), dict.fromkeys(JOBS, "completed") | {"train": "failed"})
    mark(run, "train").touch()
    mark(run, "evaluate-base-0").unlink()
    assert resume_run(run).jobs == ("evaluate-base-0", "merge")
    train = read_job_state(run, "train")
    assert train is not None
    assert (train.state, train.error) == ("completed", None)


def test_what_waits_for_a_missing_job_comes_after_it(make_run: Any) -> None:
    run = left(make_run(), dict.fromkeys(JOBS, "completed"))
    mark(run, "train").unlink()
    plan = Plan.from_json(read_json(run.plan))
    assert missing_jobs(run, plan) == ("train", "evaluate-fine_tuned-0", "evaluate-fine_tuned-1", "merge")


def test_a_whole_run_is_left_as_it_is(
    make_run: Any, started: list[RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    run = left(make_run(), dict.fromkeys(JOBS, "completed"), driver="completed")
    assert main(["resume", str(run.root)]) == 0
    assert capsys.readouterr().out.startswith(f"{run.run_id}: nothing is missing\n")
    assert main(["resume", str(run.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resumed"] is False
    assert started == []


def test_a_run_that_goes_on_is_refused(make_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    DriverState(Process.this(), "running", now(), {}).write(run)
    assert main(["resume", str(run.root)]) == 2
    assert f"{run.run_id} is pending: it goes on by itself" in capsys.readouterr().err


def test_a_run_of_another_machine_is_refused_and_the_machine_named(
    make_run: Any, started: list[RunFolder]
) -> None:
    run = left(make_run(), {}, driver=None)
    DriverState(Process(1, "1", "node7"), "running", now(), {}).write(run)
    with pytest.raises(UserError, match="runs on node7") as caught:
        resume_run(run)
    assert f"delete {run.driver_state}" in caught.value.remedy
    run.driver_state.unlink()
    assert resume_run(run).jobs == tuple(JOBS)


def test_a_run_whose_driver_never_started_can_be_resumed(make_run: Any, started: list[RunFolder]) -> None:
    run = make_run()
    assert read_status(run).state == "pending"
    assert resume_run(run).jobs == tuple(JOBS)
    assert started == [run]


def test_other_code_than_the_run_was_made_of_is_said(
    make_run: Any,
    started: list[RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(new_run, "read_code", lambda start: Code(None, "abc"))
    run = left(make_run(), {})
    identity = read_json(run.run)
    for digest, changed in ((new_run.digest_now("0" * 64), False), ("000000", True)):
        atomic.write_json(run.run, identity | {"digest": digest})
        left(run, {})
        assert main(["resume", str(run.root)]) == 0
        said = capsys.readouterr().out
        assert f"{run.run_id} goes on with prepare, " in said
        assert ("the code has changed since this run was made" in said) == changed


class TestOnSlurm:
    @pytest.fixture
    def run(self, make_run: Any, make_recipe: Any) -> RunFolder:
        run: RunFolder = make_run()
        plan = make_plan(make_recipe(), cluster="slurm", machine=Machine(1), num_train_examples=None)
        atomic.write_json(run.plan, plan.to_json())
        atomic.write_json(run.job_ids, {job.name: str(7 + place) for place, job in enumerate(plan.jobs)})
        atomic.write_json(run.profile, ClusterProfile(name="mylab", setup=("module load x",)).to_json())
        return left(run, dict.fromkeys(JOBS, "completed") | {"train": "failed", "merge": "cancelled"})

    @pytest.fixture
    def submitted(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
        """The profile and the jobs of each submission."""
        calls: list[tuple[str, tuple[str, ...]]] = []

        def submit_plan(
            run: RunFolder, plan: Plan, profile: ClusterProfile, only: Collection[str]
        ) -> dict[str, str]:
            assert profile.setup == ("module load x",)
            calls.append((profile.name, tuple(only)))
            return dict.fromkeys(only, "99")

        monkeypatch.setattr(submission, "submit_plan", submit_plan)
        monkeypatch.setattr(answers, "slurm_answers", lambda: True)
        monkeypatch.setattr(answers, "queued_jobs", lambda ids: {})
        return calls

    def test_missing_jobs_are_submitted_with_the_run_s_own_profile(
        self, run: RunFolder, submitted: list[tuple[str, tuple[str, ...]]]
    ) -> None:
        resumed = resume_run(run)
        assert submitted == [("mylab", tuple(JOBS[3:]))]
        assert resumed.job_ids == dict.fromkeys(JOBS[3:], "99")
        assert states(run) == dict.fromkeys(JOBS[:3], "completed") | dict.fromkeys(JOBS[3:], "pending")

    def test_what_an_earlier_submission_left_in_the_queue_is_ended_first(
        self,
        run: RunFolder,
        submitted: list[tuple[str, tuple[str, ...]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Of a submission that was cut short; or a job that waits all the same, or still saves."""
        queue = {
            "7": QueuedJob("COMPLETING", ""),
            "8": QueuedJob("PENDING", ""),
            "9": QueuedJob("FAILED", ""),
        }
        cancelled: list[list[str]] = []

        def cancel(ids: list[str]) -> None:
            assert not submitted
            cancelled.append(ids)
            # What waits goes at once, what ends a moment later.
            if queue.pop("8", None) is None:
                del queue["7"]

        monkeypatch.setattr(
            answers, "queued_jobs", lambda ids: {one: queue[one] for one in ids if one in queue}
        )
        monkeypatch.setattr(answers, "cancel_jobs", cancel)
        monkeypatch.setattr(resume, "QUEUE_POLL_S", 0.0)
        atomic.write_json(run.job_ids, {"prepare": "7", "evaluate-base-0": "8", "train": "9"})
        resume_run(run)
        assert cancelled == [["8"], []]
        assert len(submitted) == 1

    def test_a_run_is_not_resumed_beside_a_job_that_slurm_does_not_end(
        self,
        run: RunFolder,
        submitted: list[tuple[str, tuple[str, ...]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(answers, "queued_jobs", lambda ids: {"7": QueuedJob("COMPLETING", "")})
        monkeypatch.setattr(answers, "cancel_jobs", lambda ids: None)
        monkeypatch.setattr(resume, "QUEUE_POLL_S", 0.0)
        monkeypatch.setattr(resume, "QUEUE_PATIENCE_S", 0.0)
        before = states(run)
        with pytest.raises(OperationalError, match="Slurm has not ended 7 within 0 s") as caught:
            resume_run(run)
        assert "squeue --jobs=7" in caught.value.remedy
        assert (submitted, states(run)) == ([], before)

    def test_without_slurm_nothing_is_touched(self, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answers, "slurm_answers", lambda: False)
        before = states(run)
        with pytest.raises(UserError, match="Slurm does not answer here"):
            resume_run(run)
        assert states(run) == before


@pytest.fixture
def ended(run: RunFolder) -> RunFolder:
    """A whole run of a tiny model, every job of which has completed."""
    loaded = load_recipe(run.recipe)
    run.recipe.write_text(resolved_yaml(loaded))
    plan = make_plan(loaded.recipe, cluster="local", machine=Machine(2), num_train_examples=8)
    atomic.write_json(run.plan, plan.to_json())
    for job in plan.jobs:
        JobState(job.name, job.stage, "pending", job.ranks).begin().end("completed").write(run)
    DriverState(Process.this(), "running", now(), {}).end("completed").write(run)
    return run


@pytest.mark.parametrize("finished", ["extractive_qa"], indirect=True)
def test_of_a_real_run_only_the_damaged_unit_is_computed_again(
    ended: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    untouched = {path: path.stat().st_mtime_ns for path in ended.shards("base").iterdir()}
    results = {path.name: path.read_bytes() for path in ended.results("fine_tuned").iterdir()}
    [payload] = ended.shards("fine_tuned").glob("unit-00001.*.bin")
    payload.write_bytes(b"")
    assert main(["resume", str(ended.root), "--follow"]) == 0
    assert "goes on with evaluate-fine_tuned-0, merge\n" in capsys.readouterr().out
    log = ended.log("evaluate-fine_tuned-0", 0).read_text()
    assert "1 of " in log
    assert {path: path.stat().st_mtime_ns for path in ended.shards("base").iterdir()} == untouched
    assert {path.name: path.read_bytes() for path in ended.results("fine_tuned").iterdir()} == results
    assert main(["resume", str(ended.root)]) == 0
    assert "nothing is missing" in capsys.readouterr().out


CHEAP_DRIVER = """
import pathlib, pickle, sys
from launch.local.driver import drive
from rankfold.run_folder import RunFolder
root = pathlib.Path(sys.argv[1])
sys.exit(drive(RunFolder(root), pickle.loads((root / "make_task.pkl").read_bytes())))
"""


def cheap_stage(job: RankJob) -> None:
    """Leave a mark; the first time, train hangs after its first half."""
    import threading

    with (job.run.root / "order").open("a") as order:
        order.write(f"{job.job}\n")
    half = job.run.root / "half of train"
    if job.stage == "train" and not half.exists():
        half.touch()
        threading.Event().wait()
    (job.run.root / f"{job.job}.done").touch()


def make_cheap_task(run: RunFolder, job: Any, gpus: tuple[str, ...]) -> Callable[[], None]:
    rank_job = RankJob.of(run, job, gpus=gpus)
    stage = cheap_stage

    def task() -> None:
        from launch import job as module

        setattr(module, "run_stage", lambda job, *rest: stage(job))  # noqa: B010 (a fake, elsewhere)
        rank_job()

    return task


def start_cheap_driver(run: RunFolder) -> int:
    """Start a driver as `launch submit` does, but with cheap ranks."""
    process = subprocess.Popen([sys.executable, "-c", CHEAP_DRIVER, str(run.root)], start_new_session=True)
    wait_until(lambda: read_driver_state(run) is not None)
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid


def wait_until(condition: Callable[[], bool], patience_s: float = 60) -> None:
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.02)


@pytest.mark.parametrize("killed_too", [False, True], ids=["driver", "driver and ranks"])
def test_a_run_whose_driver_was_killed_goes_on_where_it_was(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, killed_too: bool
) -> None:
    from submitit.core.utils import cloudpickle_dump

    run = make_run(evaluation={"shards": 1, "baseline": False})
    cloudpickle_dump(make_cheap_task, run.root / "make_task.pkl")
    monkeypatch.setattr(driver, "start_driver", start_cheap_driver)
    pid = start_cheap_driver(run)
    wait_until((run.root / "half of train").exists)
    [rank] = read_rank_states(run, "train", 1)
    if killed_too:
        os.killpg(os.getpgid(rank.process.pid), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: read_status(run).state == "failed")

    assert resume_run(run).jobs == ("train", "evaluate-fine_tuned-0", "merge")
    assert not rank.process.is_alive()
    wait_until(lambda: read_status(run).state == "completed")
    order = (run.root / "order").read_text().split()
    assert order == ["prepare", "train", "train", "evaluate-fine_tuned-0", "merge"]

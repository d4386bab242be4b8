"""What a rank does around its stage."""

import os
import signal
import subprocess
import sys
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from launch import job as job_module
from launch.attempts import Attempt, read_attempts, write_attempts
from launch.job import Place, RankJob, redirected_to, timeout_s
from launch.profiles.profile import ClusterProfile
from launch.states import RankState, read_job_state, read_json, read_rank_states
from launch.stop_signals import CANCELLED, PREEMPTION, TIME_LIMIT, Reasons
from rankfold import atomic
from rankfold.errors import EXIT_INTERRUPTED, OperationalError, StoppedError
from rankfold.lifeline import Lifeline
from rankfold.run_folder import RunFolder


def test_what_native_code_and_children_print_goes_to_the_log_too(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    with redirected_to(log):
        os.write(2, "来自本地代码\n".encode())
        subprocess.run([sys.executable, "-c", "print('来自子进程')"], check=True)
    assert log.read_text().splitlines() == ["来自本地代码", "来自子进程"]
    with redirected_to(log):
        os.write(1, b"more\n")
    assert log.read_text().endswith("more\n")


def run_rank(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, stage: Any, lifeline: Lifeline | None = None
) -> None:
    """Run a rank's body around a stage."""
    monkeypatch.setattr(job_module, "run_stage", lambda job, lifeline: stage(job))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    job = RankJob(str(run.root), "train", "train", None, None, 1, threads=3)
    place = Place(rank=0, local_rank=0, world_size=1, hosts=("here",), attempt=4)
    job._run_and_tell(place, lifeline or Lifeline())


def state_of_rank(run: RunFolder) -> RankState:
    [state] = read_rank_states(run, "train", 1)
    return state


def test_a_rank_says_how_it_is_and_leaves_the_state_of_the_job_to_others(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    seen: dict[str, str] = {}

    def stage(job: RankJob) -> None:
        seen.update(os.environ)
        assert state_of_rank(run).state == "running"

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    run_rank(run, monkeypatch, stage)
    state = state_of_rank(run)
    assert (state.state, state.attempt, state.kind) == ("completed", 4, None)
    job_state = read_job_state(run, "train")
    assert job_state is not None
    assert job_state.state == "pending"
    assert seen["OMP_NUM_THREADS"] == "3"
    assert seen["TOKENIZERS_PARALLELISM"] == "false"
    assert (seen["HF_HUB_OFFLINE"], seen["HF_DATASETS_OFFLINE"], seen["TRANSFORMERS_OFFLINE"]) == tuple("011")
    meeting = read_json(run.rendezvous("train", 4))
    assert (seen["MASTER_ADDR"], seen["MASTER_PORT"]) == ("127.0.0.1", str(meeting["port"]))


def test_a_rank_that_fails_says_why_and_with_which_exception(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()

    def stage(job: RankJob) -> None:
        raise OperationalError("no room")

    with pytest.raises(OperationalError):
        run_rank(run, monkeypatch, stage)
    state = state_of_rank(run)
    assert (state.state, state.error, state.kind) == ("failed", "no room", "OperationalError")


@pytest.mark.parametrize(
    ("asked", "error", "reason"),
    [
        ("time limit", StoppedError("stopped as asked"), "time limit"),
        # What fails once the others leave says nothing about the job.
        ("time limit", RuntimeError("connection closed by peer"), "time limit"),
        (None, StoppedError("stopped as asked (another rank)"), "stopped as asked (another rank)"),
    ],
)
def test_a_rank_that_was_asked_to_stop_is_interrupted_and_not_failed(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, asked: str | None, error: Exception, reason: str
) -> None:
    run, lifeline = make_run(), Lifeline()

    def stage(job: RankJob) -> None:
        if asked:
            lifeline.ask_to_stop(asked)
        raise error

    with pytest.raises(SystemExit) as caught:
        run_rank(run, monkeypatch, stage, lifeline)
    assert caught.value.code == EXIT_INTERRUPTED
    state = state_of_rank(run)
    assert (state.state, state.error, state.kind) == ("cancelled", reason, type(error).__name__)


def test_slurm_s_signals_ask_a_rank_to_stop_and_spare_its_children(make_run: Any, repository: Path) -> None:
    run = make_run()
    ready, says_ready = os.pipe()
    hears, signalled = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "unit.launch.warned", str(run.root), str(says_ready), str(hears)],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": "tests"},
        pass_fds=(says_ready, hears),
        start_new_session=True,
    )
    os.close(says_ready)
    assert os.read(ready, 1), run.log("train", 0).read_text()
    for number in (signal.SIGUSR2, signal.SIGTERM):
        os.killpg(process.pid, number)
    os.write(signalled, b"!")
    assert process.wait(60) == EXIT_INTERRUPTED, run.log("train", 0).read_text()
    state = state_of_rank(run)
    assert (state.state, state.error, state.kind) == ("cancelled", "time limit", "StoppedError")
    with pytest.raises(ProcessLookupError):
        # Nothing of its process group is left, the loader's worker included.
        os.killpg(process.pid, 0)


NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("seconds_left", "reason"),
    # The profile warns 120 s before the limit, and Slurm up to 60 s before that.
    [(3600, PREEMPTION), (200, PREEMPTION), (180, TIME_LIMIT), (-20, TIME_LIMIT)],
)
@pytest.mark.parametrize("slurm_tells", [True, False])
def test_a_warning_near_the_time_limit_is_one_of_the_time_limit(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, slurm_tells: bool, seconds_left: int, reason: str
) -> None:
    run = make_run()
    atomic.write_json(run.profile, ClusterProfile().to_json())
    end = NOW + seconds_left
    if slurm_tells:
        monkeypatch.setenv("SLURM_JOB_END_TIME", str(end))
    else:
        monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
        # The plan's time limit is 60 minutes.
        started = datetime.fromtimestamp(end - 3600, UTC).isoformat()
        write_attempts(run, "train", [Attempt(1, "7", "n1", "2020-01-01T00:00:00+00:00", 0)])
        write_attempts(run, "train", [*read_attempts(run, "train"), Attempt(2, "7", "n1", started, 0)])
    monkeypatch.setattr("launch.stop_signals.time.time", lambda: NOW)
    assert Reasons.of(run, "train").why() == reason


def test_a_short_job_is_warned_when_half_of_its_time_is_left_and_not_before(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(resources={"train": {"time_limit_min": 2}})
    atomic.write_json(run.profile, ClusterProfile(signal_delay_s=120).to_json())
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(NOW + 130))
    monkeypatch.setattr("launch.stop_signals.time.time", lambda: NOW)
    assert Reasons.of(run, "train").why() == PREEMPTION


def test_a_run_from_before_recipes_had_a_timeout_has_the_one_of_today(make_run: Any) -> None:
    run = make_run()
    assert timeout_s(run) == 1800
    for recipe in ({}, {"distributed": {"strategy": "ddp"}}):
        atomic.write_json(run.recipe, recipe)
        assert timeout_s(run) == 1800


FAILS_AND_HANGS = """
import sys, threading
from launch import job
def stage(*arguments):
    raise RuntimeError("no room")
job.run_stage, job.EXIT_S = stage, 0.2
# As what NCCL tears down does, this waits for ever while the process exits.
threading.Thread(target=threading.Event().wait).start()
job.RankJob(sys.argv[1], "train", "train", None, None, 1)()
"""


def test_a_rank_that_failed_and_hangs_on_its_way_out_is_ended(make_run: Any, repository: Path) -> None:
    run = make_run()
    place = {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "1", "SUBMITIT_LOCAL_NTASKS": "1"}
    place |= {"SUBMITIT_LOCAL_GLOBALID": "0", "SUBMITIT_LOCAL_LOCALID": "0", "SUBMITIT_LOCAL_NODEID": "0"}
    place |= {"SUBMITIT_LOCAL_JOB_NUM_NODES": "1", "PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", FAILS_AND_HANGS, str(run.root)]
    ended = subprocess.run(command, env={**os.environ, **place}, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "Timeout (0:00:00" in ended.stderr
    state = state_of_rank(run)
    assert (state.state, state.error) == ("failed", "RuntimeError: no room")
    # It did not hang at work.
    assert "Timeout" not in run.log("train", 0).read_text()


def test_after_a_cancellation_a_warning_is_no_preemption(make_run: Any) -> None:
    run = make_run()
    reasons = Reasons.of(run, "train")
    assert reasons.why() == PREEMPTION
    run.cancelled.write_text("{}")
    assert reasons.why() == CANCELLED


def test_an_evaluation_gets_its_variant_and_shard(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    called = []
    stage = types.SimpleNamespace(evaluate=lambda *arguments: called.append(arguments))
    # Importing the real one takes seconds.
    monkeypatch.setitem(sys.modules, "rankfold.stages.evaluate", cast(Any, stage))
    lifeline = Lifeline()
    job_module.run_stage(RankJob(str(run.root), "evaluate-base-1", "evaluate", "base", 1, 4), lifeline)
    assert called == [(run, "base", 1, 4, lifeline)]

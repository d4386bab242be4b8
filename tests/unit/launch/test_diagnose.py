"""Why a run is as it is: who failed first, what shows it, what it waits for, what to type next."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from failed_runs import EARLY, LATE, fail, rank, run_on_slurm, tell, traceback
from fake_slurm import FakeSlurm

from launch.attempts import Attempt, write_attempts
from launch.cli import main
from launch.processes import Process
from launch.states import DriverState, JobState, now, read_json
from rankfold import atomic
from rankfold.checkpoints import Marker, checkpoint_folder, write_marker
from rankfold.run_folder import RunFolder


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm that has forgotten everything."""
    return FakeSlurm(tmp_path / "bin", monkeypatch)


@pytest.fixture
def run(make_run: Any, make_recipe: Any) -> RunFolder:
    return run_on_slurm(make_run, make_recipe)


@pytest.mark.usefixtures("slurm")
def test_the_end_of_the_traceback_is_shown_and_where_it_stands(run: RunFolder) -> None:
    error = "ValueError: first line\nsecond line"
    rank(run, 3, error, traceback("KeyError: 'earlier'") + "During handling …\n" + traceback(error))
    fail(run, "exception", error, first=3)
    told = tell(run)
    assert told.evidence[0] == '  File "/code/b.py", line 1, in b'
    assert told.evidence[-2:] == ("ValueError: first line", "second line")
    assert told.evidence_from == str(run.log("train", 3))
    assert (told.rank, told.node) == (3, "node2")


@pytest.mark.usefixtures("slurm")
def test_the_frames_before_the_stage_are_left_out(run: RunFolder) -> None:
    shown = traceback("ValueError: no").replace("/code/d.py", "/site/launch/job.py")
    rank(run, 3, "ValueError: no", shown)
    fail(run, "exception", "ValueError: no", first=3)
    assert tell(run).evidence == ('  File "/code/e.py", line 4, in e', "    e()", "ValueError: no")


@pytest.mark.usefixtures("slurm")
def test_ranks_that_srun_killed_afterwards_are_not_taken_for_the_cause(run: RunFolder) -> None:
    rank(run, 3, "ValueError: no", traceback("ValueError: no"))
    batch = "srun: error: node2: task 3: Exited with exit code 1\nsrun: error: node1: tasks 0-1: Killed\n"
    fail(run, "exception", "ValueError: no", first=3, batch=batch)
    assert tell(run).cause == "exception"


@pytest.mark.usefixtures("slurm")
def test_a_traceback_of_an_earlier_attempt_is_not_shown(run: RunFolder) -> None:
    rank(run, 3, "", traceback("KeyError: 'earlier'") + "train starts as 4 of 4 ranks\n")
    fail(run, "killed", "was killed by signal 9 (SIGKILL)", first=3)
    assert tell(run).evidence == ()


@pytest.mark.usefixtures("slurm")
def test_a_rank_that_failed_before_its_log_was_open_is_shown_all_the_same(run: RunFolder) -> None:
    atomic.write_text(
        run.output("train", "41", 2), traceback("ImportError: no numpy").replace("train failed", "submitit")
    )
    fail(run, "setup_failed", "its ranks did not start: ended with exit code 1", first=2)
    told = tell(run)
    assert "ImportError: no numpy" in told.evidence
    assert told.evidence_from == str(run.output("train", "41", 2))
    assert "ended with exit code 1" in (told.error or "")


def test_what_fails_before_its_ranks_is_not_explained_by_an_earlier_submission(
    run: RunFolder, slurm: FakeSlurm
) -> None:
    rank(run, 3, "ValueError: no", traceback("ValueError: no"))
    fail(run, "exception", "ValueError: no", first=3)
    JobState("train", "train", "pending", 4).write(run)
    atomic.write_json(run.job_ids, {**read_json(run.job_ids), "train": "51"})
    atomic.write_text(run.output("train", "51"), "bash: line 9: /opt/python: No such file or directory\n")
    slurm.answer("squeue", "51|FAILED|NonZeroExitCode|node1|N/A|1:00\n")
    told = tell(run)
    assert (told.cause, told.rank) == ("setup_path_missing", None)
    assert "ValueError" not in (told.error or "")


@pytest.mark.usefixtures("slurm")
def test_a_rank_that_only_lost_another_one_is_not_the_first(run: RunFolder) -> None:
    lost = "RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer"
    rank(run, 0, lost, traceback(lost), ended=EARLY)
    rank(run, 3, "ValueError: no", traceback("ValueError: no"), ended=LATE)
    fail(run, "exception", lost, first=0)
    told = tell(run)
    assert (told.rank, told.cause, told.title) == (3, "exception", "ValueError: no")


@pytest.mark.usefixtures("slurm")
def test_a_rank_that_was_killed_made_the_others_fail(run: RunFolder) -> None:
    lost = "RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer"
    rank(run, 0, lost, traceback(lost))
    fail(
        run,
        "exception",
        lost,
        first=0,
        batch="srun: error: node2: task 3: Segmentation fault (core dumped)\n",
    )
    told = tell(run)
    assert told.rank == 3
    assert "SIGSEGV" in (told.error or "")


HANGING = """\
Timeout (0:30:00)!
Thread 0x00007f0000000002 (most recent call first):
  File "/code/{file}.py", line 12 in {function}
  File "/code/train.py", line 40 in train
"""


@pytest.mark.usefixtures("slurm")
def test_a_hang_names_the_rank_that_stood_elsewhere(run: RunFolder) -> None:
    for number in range(4):
        where = ("loader", "__getitem__") if number == 2 else ("comm", "all_reduce")
        rank(run, number, "", HANGING.format(file=where[0], function=where[1]))
    fail(run, "hung", "got no further", first=0)
    told = tell(run)
    assert told.cause == "hung"
    assert "rank 2 stood elsewhere than the others: rank 2 in __getitem__" in told.title
    assert told.rank == 2
    assert told.evidence[0] == '  File "/code/loader.py", line 12 in __getitem__'
    assert told.next == "launch logs RUN --stage train --rank 2"


@pytest.mark.usefixtures("slurm")
def test_attempts_without_progress_name_what_ended_them(run: RunFolder) -> None:
    fail(run, "no_progress", "3 attempts in a row began at step 0 and got no further")
    last = Attempt(3, "41", "node1", EARLY, 0, LATE, "no_progress", "3 attempts in a row")
    limit = [Attempt(number, "41", "node1", EARLY, 0, LATE, "time_limit") for number in (1, 2)]
    write_attempts(run, "train", [*limit, last])
    told = tell(run)
    assert told.cause == "no_progress"
    assert told.title == "the time limit was over before it was done; tried 3 times, and never got further"
    assert told.next.endswith("resources.train.time_limit_min=120")


def test_what_only_slurm_knows_is_believed(run: RunFolder, slurm: FakeSlurm) -> None:
    """Its script was killed before it could write anything."""
    fail(run, "exception")
    JobState("train", "train", "running", 4, started=EARLY).write(run)
    write_attempts(run, "train", [Attempt(1, "41", "node1", EARLY, 0)])
    slurm.answer("sacct", "41|OUT_OF_MEMORY|0:125|2026-01-01T00:00:00|2026-01-01T00:01:00|node1\n")
    assert tell(run).cause == "slurm_out_of_memory"
    slurm.answer("sacct", "41|TIMEOUT|0:0|2026-01-01T00:00:00|2026-01-01T00:01:00|node1\n")
    assert tell(run).cause == "time_limit"


def test_a_cancelled_run_says_by_whom(run: RunFolder, slurm: FakeSlurm) -> None:
    JobState("train", "train", "cancelled", 4, started=EARLY).write(run)
    for name in ("evaluate-fine_tuned-0", "merge"):
        JobState(name, name, "cancelled", 1).write(run)
    slurm.answer("sacct", "41|CANCELLED by 0|0:0|2026-01-01T00:00:00|2026-01-01T00:01:00|node1\n")
    told = tell(run)
    assert told.title == "it was cancelled with scancel by root, not with launch cancel"
    atomic.write_json(run.cancelled, {"by": "ada on login1", "when": EARLY})
    told = tell(run)
    assert told.title == f"it was cancelled by ada on login1 with launch cancel, at {EARLY}"
    assert (told.cause, told.next) == ("cancelled", "launch resume RUN")


def test_a_waiting_run_says_what_it_waits_for(run: RunFolder, slurm: FakeSlurm) -> None:
    slurm.answer(
        "squeue",
        "41|PENDING|Resources||N/A|1:00\n42|PENDING|Dependency||N/A|1:00\n43|PENDING|Dependency||N/A|1:00\n",
    )
    told = tell(run)
    assert told.cause == "waiting"
    assert told.title == "train waits: next in line, until enough nodes are free (Resources)"
    assert told.next == "launch status RUN"
    write_attempts(run, "train", [Attempt(1, "41", "node1", EARLY, 0, LATE, "preempted")])
    assert "Earlier attempts ended (1: preempted)" in tell(run).explanation


def test_a_held_job_is_let_go_and_not_just_watched(run: RunFolder, slurm: FakeSlurm) -> None:
    waiting = "".join(f"{job_id}|PENDING|Dependency||N/A|1:00\n" for job_id in (42, 43))
    slurm.answer("squeue", f"41|PENDING|JobHeldUser||N/A|1:00\n{waiting}")
    assert tell(run).next == "scontrol release 41"


def test_a_job_that_never_starts_says_so(run: RunFolder, slurm: FakeSlurm) -> None:
    waiting = "".join(f"{job_id}|PENDING|Dependency||N/A|1:00\n" for job_id in (42, 43))
    slurm.answer("squeue", f"41|PENDING|PartitionTimeLimit||N/A|1:00\n{waiting}")
    told = tell(run)
    assert told.cause == "never_starts"
    assert "longer than the partition allows" in told.title
    assert told.next == "launch cancel RUN"


def test_jobs_that_wait_for_a_cancelled_one_never_start(run: RunFolder, slurm: FakeSlurm) -> None:
    never = "".join(f"{job_id}|PENDING|DependencyNeverSatisfied||N/A|1:00\n" for job_id in (42, 43))
    slurm.answer("squeue", f"41|CANCELLED|None||N/A|1:00\n{never}")
    told = tell(run)
    assert told.cause == "never_starts"
    assert told.title == "evaluate-fine_tuned-0 never starts: train cancelled"
    assert "train was cancelled with scancel" in told.explanation
    assert told.next == "launch cancel RUN"


def test_a_running_run_says_how_far_it_is(run: RunFolder, slurm: FakeSlurm) -> None:
    slurm.answer("squeue", "41|RUNNING|None|node1|N/A|1:00\n42|PENDING|Dependency||N/A|1:00\n")
    told = tell(run)
    assert (told.cause, told.next) == ("running", "launch logs -f RUN --stage train")


def test_where_slurm_is_silent_nothing_is_guessed(run: RunFolder, slurm: FakeSlurm) -> None:
    JobState("train", "train", "running", 4, started=EARLY).write(run)
    slurm.answer("squeue", error="slurm_load_jobs error: Unable to contact slurm controller", exit_code=1)
    told = tell(run)
    assert (told.cause, told.next) == ("slurm_silent", "scontrol ping")
    assert told.title == "Slurm gives no answer; when it last wrote, train was running"


def recipe_with(run: RunFolder, **sections: dict[str, Any]) -> None:
    recipe = yaml.safe_load(run.recipe.read_text())
    for name, changes in sections.items():
        recipe[name] = {**(recipe[name] or {}), **changes}
    run.recipe.write_text(yaml.safe_dump(recipe))


@pytest.mark.usefixtures("slurm")
def test_the_next_command_has_the_runs_own_values_in_it(run: RunFolder) -> None:
    fail(run, "out_of_memory", "CUDA out of memory")
    recipe_with(run, train={"per_device_train_batch_size": 1})
    assert tell(run).next.endswith("train.gradient_checkpointing=true distributed.strategy=zero3")
    fail(run, "not_a_number", "the training loss is nan")
    recipe_with(run, model={"torch_dtype": "float16"})
    assert tell(run).next.endswith("model.torch_dtype=bfloat16")
    fail(run, "out_of_memory", batch="slurmstepd: error: Detected 1 oom-kill event(s) in StepId=41.0\n")
    recipe_with(run, resources={"train": {"memory_gb": 100}})
    assert tell(run).next.endswith("resources.train.memory_gb=200")


@pytest.mark.usefixtures("slurm")
def test_a_time_limit_with_a_whole_checkpoint_needs_no_longer_one(run: RunFolder) -> None:
    fail(run, "time_limit")
    write_marker(checkpoint(run), Marker(step=40, world_size=4))
    assert tell(run).next == "launch resume RUN"


def checkpoint(run: RunFolder) -> Path:
    folder = checkpoint_folder(run.checkpoints, 40)
    folder.mkdir(parents=True)
    return folder


@pytest.mark.usefixtures("slurm")
def test_a_shard_that_runs_out_of_memory_gets_a_smaller_batch(run: RunFolder) -> None:
    name = "evaluate-fine_tuned-0"
    JobState("train", "train", "completed", 4, started=EARLY).write(run)
    write_attempts(
        run, name, [Attempt(1, "42", "node1", EARLY, 0, LATE, "out_of_memory", "CUDA out of memory", 0)]
    )
    JobState(name, "evaluate", "failed", 1, started=EARLY, ended=LATE, error="CUDA out of memory").write(run)
    told = tell(run)
    assert (told.cause, told.job) == ("gpu_out_of_memory", name)
    assert told.next.endswith("evaluation.per_device_eval_batch_size=8")


def local(run: RunFolder, state: str, error: str | None = None) -> None:
    """The run as a driver on this machine left it."""
    plan = json.loads(run.plan.read_text())
    atomic.write_json(run.plan, {**plan, "cluster": "local"})
    driver = DriverState(Process.this(), "running", now(), {})
    driver.end(state, error).write(run)  # type: ignore[arg-type]


def test_a_local_run_is_explained_in_the_same_way(run: RunFolder) -> None:
    rank(run, 1, "ValueError: no", traceback("ValueError: no"))
    fail(run, "exception", "ValueError: no", first=1)
    local(run, "failed")
    told = tell(run)
    assert (told.cause, told.rank, told.next) == ("exception", 1, "launch resume RUN")


def test_a_driver_that_is_gone_is_named(run: RunFolder) -> None:
    JobState("train", "train", "running", 4, started=EARLY).write(run)
    local(run, "running")
    driver = json.loads(run.driver_state.read_text())
    driver["process"]["started"] = "another"
    atomic.write_json(run.driver_state, {**driver, "state": "running"})
    told = tell(run)
    assert (told.cause, told.next) == ("driver_gone", "launch resume RUN")


@pytest.mark.usefixtures("slurm")
def test_the_command_ends_with_what_to_type_next(
    run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rank(run, 3, "ValueError: no", traceback("ValueError: no"))
    fail(
        run,
        "exception",
        "ValueError: no",
        first=3,
        batch="srun: error: node2: task 3: Exited with exit code 1\n",
    )
    monkeypatch.chdir(run.root.parent)
    assert main(["why", run.run_id, "--runs-dir", "."]) == 0
    text = capsys.readouterr().out
    assert text.startswith("small-1: failed in train, rank 3 on node2\nValueError: no\n")
    assert "  ValueError: no\n" in text
    assert "srun: error: node2: task 3: Exited" in text
    assert text.splitlines()[-1] == f"next: launch resume '{run.root}'"
    assert main(["why", str(run.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cause"] == "exception"

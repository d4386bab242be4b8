"""What a batch script writes around its ranks, and which attempts it has tried again."""

from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm
from unit.launch.attempt_states import START, fail, rank

from launch import attempt
from launch.attempts import Attempt, Cause, read_attempts, write_attempts
from launch.new_run import digest_now
from launch.states import JobState, State, read_job_state, read_json
from launch.stop_signals import TIME_LIMIT
from rankfold import atomic
from rankfold.errors import EXIT_INTERRUPTED
from rankfold.run_folder import RunFolder


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Slurm around a batch script of job 7, which runs."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(attempt, "LAG_S", 0.0)
    fake = FakeSlurm(tmp_path / "bin", monkeypatch)
    shows(fake, "RUNNING")
    return fake


def shows(
    slurm: FakeSlurm, state: str, *, restarts: int = 0, reason: str = "None", minutes: int = 60
) -> None:
    end = f"2026-01-01T{minutes // 60:02}:{minutes % 60:02}:00"
    slurm.answer(
        "scontrol",
        f"JobId=7 JobName=x UserId=me(1) JobState={state} Reason={reason} Restarts={restarts} "
        f"ExitCode=0:0 StartTime=2026-01-01T00:00:00 EndTime={end} NodeList=node[1-2] Command=/x\n",
    )


def call(run: RunFolder, command: str, job: str = "train", *rest: str) -> int:
    return attempt.main([command, str(run.root), job, *rest])


def told(run: RunFolder, job: str = "train") -> JobState:
    state = read_job_state(run, job)
    assert state is not None
    return state


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.usefixtures("slurm")
def test_an_attempt_says_that_the_code_is_not_what_was_submitted(
    changed: bool, make_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    identity = read_json(run.run)
    digest = "another" if changed else digest_now(identity["recipe_sha256"])
    atomic.write_json(run.run, {**identity, "digest": digest})
    assert call(run, "begin") == 0
    assert ("the code has changed since the run was submitted" in capsys.readouterr().err) == changed


def test_a_node_that_does_not_see_the_run_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert attempt.main(["begin", str(tmp_path / "gone"), "train"]) == 1
    told = capsys.readouterr().err
    assert "there is no plan.json: the run's folder is gone, or this node does not see it" in told


@pytest.mark.usefixtures("slurm")
def test_begin_prints_the_number_and_end_writes_that_all_went_well(
    make_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    assert call(run, "begin") == 0
    printed = capsys.readouterr()
    assert printed.out == "1\n"
    assert printed.err == "launch: attempt 1 of train begins on node[1-2]\n"
    assert told(run).state == "running"
    assert call(run, "end", "train", "0") == 0
    assert told(run).state == "completed"
    assert told(run).seconds is not None
    [only] = read_attempts(run, "train")
    assert (only.slurm_id, only.nodes, only.cause, only.error) == ("7", "node[1-2]", "completed", None)


@pytest.mark.usefixtures("slurm")
def test_a_task_of_an_array_is_named_so_that_no_other_is_requeued(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    call(run, "begin")
    assert read_attempts(run, "train")[0].slurm_id == "5_2"


@pytest.mark.usefixtures("slurm")
def test_a_user_s_mistake_is_final(make_run: Any) -> None:
    run = make_run()
    call(run, "begin")
    fail(run, "failed", "data.jsonl:7: line is no JSON\n  → Correct it.", "DataError")
    assert call(run, "end", "train", "2") == 0
    assert told(run).state == "failed"
    assert told(run).error == "rank 0: data.jsonl:7: line is no JSON\n  → Correct it."
    assert read_attempts(run, "train")[0].cause == "user_error"


def test_what_another_attempt_may_get_past_is_requeued_until_it_gets_no_further(
    make_run: Any, slurm: FakeSlurm
) -> None:
    run = make_run()
    for number in (1, 2, 3):
        shows(slurm, "RUNNING")
        assert call(run, "begin") == 0
        fail(run, "cancelled", "preemption or requeue", "StoppedError", number)
        wanted = EXIT_INTERRUPTED if number < 3 else 0
        assert call(run, "end", "train", "75") == wanted
        assert told(run).state == ("pending" if number < 3 else "failed")
    causes = [each.cause for each in read_attempts(run, "train")]
    assert causes == ["interrupted", "interrupted", "no_progress"]
    assert "3 attempts in a row began at step 0" in str(told(run).error)


@pytest.mark.usefixtures("slurm")
def test_after_a_cancel_nothing_is_tried_again_and_nothing_begins(
    make_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    call(run, "begin")
    atomic.write_json(run.cancelled, {"by": "me"})
    fail(run, "cancelled", TIME_LIMIT, "StoppedError")
    assert call(run, "end", "train", "75") == 0
    assert told(run).state == "cancelled"
    assert read_attempts(run, "train")[0].cause == "cancelled"
    JobState("train", "train", "pending", 1).write(run)
    assert call(run, "begin") == 1
    assert "launch: train is not tried again: the run was cancelled" in capsys.readouterr().err
    assert told(run).state == "cancelled"
    assert len(read_attempts(run, "train")) == 1


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(("status", "state", "exit_code"), [("0", "completed", 0), ("2", "failed", 1)])
def test_a_job_that_had_ended_does_not_run_again_when_slurm_queues_it_once_more(
    make_run: Any, capsys: pytest.CaptureFixture[str], status: str, state: State, exit_code: int
) -> None:
    run = make_run()
    call(run, "begin")
    if state == "failed":
        fail(run, "failed", "data.jsonl:7: line is no JSON", "DataError")
    call(run, "end", "train", status)
    ended = told(run)
    capsys.readouterr()
    assert call(run, "begin") == exit_code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "launch: train had ended before Slurm queued it once more: " in printed.err
    assert told(run) == ended
    assert ended.state == state
    assert len(read_attempts(run, "train")) == 1


@pytest.mark.usefixtures("slurm")
def test_a_job_that_was_submitted_anew_leaves_its_successor_alone(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    atomic.write_json(run.job_ids, {"train": "7"})
    call(run, "begin")
    atomic.write_json(run.job_ids, {"train": "8"})
    assert call(run, "begin") == 1
    assert "it was submitted anew as 8" in capsys.readouterr().err
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert call(run, "begin") == 0
    before = told(run), read_attempts(run, "train")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert call(run, "end", "train", "143") == 0
    assert (told(run), read_attempts(run, "train")) == before


@pytest.mark.parametrize(
    ("state", "restarts", "reason", "exit_code", "cause", "job_state"),
    [
        # scancel: Slurm ends it, and does not mean to start it again.
        ("COMPLETING", 0, "None", 0, "cancelled", "cancelled"),
        # scontrol requeue by somebody else: it comes back by itself.
        ("COMPLETING", 1, "None", 0, "interrupted", "pending"),
        ("COMPLETING", 0, "TimeLimit", EXIT_INTERRUPTED, "time_limit", "pending"),
        # Slurm still sends the warning, and ends nothing.
        ("SIGNALING", 0, "None", 0, "setup_failed", "failed"),
    ],
)
def test_what_slurm_ended_comes_back_only_where_it_should(
    state: str,
    restarts: int,
    reason: str,
    exit_code: int,
    cause: Cause,
    job_state: State,
    make_run: Any,
    slurm: FakeSlurm,
) -> None:
    run = make_run()
    call(run, "begin")
    shows(slurm, state, restarts=restarts, reason=reason)
    assert call(run, "end", "train", "143") == exit_code
    assert read_attempts(run, "train")[0].cause == cause
    assert told(run).state == job_state


def test_without_scontrol_the_output_says_enough(make_run: Any, slurm: FakeSlurm) -> None:
    run = make_run()
    slurm.answer("scontrol", error="not here", exit_code=127)
    call(run, "begin")
    output = run.output("train", "7")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("slurmstepd: error: *** JOB 7 ON n CANCELLED AT 2026-11-22T10:16:48 ***\n")
    assert call(run, "end", "train", "143") == 0
    assert told(run).state == "cancelled"


@pytest.mark.parametrize(
    ("account", "cause"),
    [
        ("7|NODE_FAIL|0:0|2026-01-01T00:00:00|2099-01-01T00:30:00|node1\n", "node_failure"),
        (
            "7|PREEMPTED|0:0|2026-01-01T00:00:00|2026-01-01T00:30:00|node1\n"
            "7|NODE_FAIL|0:0|2026-01-01T00:30:00|2099-01-01T00:30:00|node1\n"
            "7|RUNNING|0:0|2099-01-01T00:31:00|Unknown|node1\n",
            "node_failure",
        ),
        # What it tells is of an attempt before; that of the last one has not arrived.
        ("7|PREEMPTED|0:0|2026-01-01T00:00:00|2026-01-01T00:30:00|node1\n", "interrupted"),
        ("", "interrupted"),
    ],
)
def test_begin_closes_an_attempt_whose_script_was_killed(
    account: str, cause: Cause, make_run: Any, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    run = make_run()
    call(run, "begin")
    rank(0, "running").write(run, "train")
    slurm.answer("sacct", account)
    assert call(run, "begin") == 0
    first, second = read_attempts(run, "train")
    assert first.cause == cause
    assert first.ended is not None
    assert (second.number, second.cause) == (2, None)
    assert read_json(run.rank_state("train", 0))["state"] == "cancelled"


@pytest.mark.usefixtures("slurm")
def test_begin_gives_up_where_slurm_requeued_it_again_and_again_for_nothing(make_run: Any) -> None:
    run = make_run()
    write_attempts(run, "train", [Attempt(number, "7", "n", START, 0) for number in (1, 2, 3)])
    assert call(run, "begin") == 1
    assert told(run).state == "failed"
    assert read_attempts(run, "train")[-1].cause == "no_progress"
    # Submitted anew, it has another three.
    write_attempts(run, "train", [Attempt(number, "6", "n", START, 0) for number in (1, 2, 3)])
    assert call(run, "begin") == 0


def test_a_requeue_that_slurm_refuses_is_the_end_unless_it_was_requeued_already(
    make_run: Any, slurm: FakeSlurm
) -> None:
    run = make_run()
    call(run, "begin")
    fail(run, "cancelled", TIME_LIMIT, "StoppedError")
    call(run, "end", "train", "75")
    shows(slurm, "PENDING", restarts=1)
    assert call(run, "refused") == 0
    assert told(run).state == "pending"
    shows(slurm, "RUNNING")
    assert call(run, "refused") == 0
    assert told(run).state == "failed"
    assert told(run).error == "time limit; Slurm refused to requeue it"
    # It had not, after all.
    assert call(run, "begin") == 0
    assert told(run).state == "running"


@pytest.mark.usefixtures("slurm")
def test_an_end_that_cannot_be_written_is_one_line_and_no_wish_to_be_requeued(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    call(run, "begin")

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_json", full)
    assert call(run, "end", "train", "1") == 1
    assert capsys.readouterr().err.endswith(
        "launch: end of an attempt at train could not be written: [Errno 28] No space left on device\n"
    )


@pytest.mark.usefixtures("slurm")
def test_a_half_written_result_of_submitit_s_does_not_fail_the_next_attempt(make_run: Any) -> None:
    run = make_run()
    mine, other = run.submitit("train") / "7_0_result.pkl.save_tmp", run.submitit("train") / "8_0.save_tmp"
    mine.parent.mkdir(parents=True)
    mine.touch()
    other.touch()
    call(run, "begin")
    assert not mine.exists()
    assert other.exists()

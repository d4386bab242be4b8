"""Why attempts end, which are tried again, and what a batch script writes around its ranks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm

from launch import attempt
from launch.attempts import (
    Attempt,
    Cause,
    Ending,
    no_progress,
    progress_of,
    read_attempts,
    write_attempts,
)
from launch.new_run import digest_now
from launch.plan import Plan, PlannedJob
from launch.processes import Process
from launch.slurm import batch_output
from launch.states import JobState, RankState, State, read_job_state, read_json
from launch.stop_signals import TIME_LIMIT
from launch.why.failures import Evidence, Exit, cause_of, hung_ranks, why
from rankfold import atomic
from rankfold.errors import EXIT_INTERRUPTED
from rankfold.run_folder import RunFolder

HERE = Process(1, "1", "node1")
START = "2026-01-01T00:00:00.000+00:00"


def rank(
    number: int, state: State, error: str | None = None, kind: str | None = None, *, second: int = 1
) -> RankState:
    ended = None if state == "running" else f"2026-01-01T00:00:{second:02}.000+00:00"
    return RankState(number, HERE, state, START, ended=ended, error=error, kind=kind)


# What ranks, srun and Slurm leave behind, as seen on a real Slurm, and what it means.
COMPLETED = (rank(0, "completed"), rank(1, "completed"))
BUSY = (rank(0, "running"), rank(1, "running"))
OVER = Ending("time_limit", "its time limit was over")
CASES: dict[str, tuple[Evidence, Cause, int | None]] = {
    "all went well": (Evidence(0, COMPLETED), "completed", None),
    "a lagging file system hides the ranks' states": (Evidence(0, BUSY), "completed", None),
    "Slurm's end came just after theirs": (Evidence(0, COMPLETED, ended_by=OVER), "completed", None),
    "srun ends well though Slurm took its step away": (Evidence(0, BUSY, ended_by=OVER), "time_limit", None),
    "an exception, and then the rank that waited for it": (
        Evidence(
            1,
            (
                rank(0, "failed", "RuntimeError: connection closed", "RuntimeError", second=2),
                rank(1, "failed", "ZeroDivisionError: by zero", "ZeroDivisionError"),
            ),
            (Exit(1, 1), Exit(0, 1)),
        ),
        "exception",
        1,
    ),
    "a rank is killed and the other fails of it": (
        Evidence(
            137,
            (rank(0, "failed", "RuntimeError: connection closed", "RuntimeError"), rank(1, "running")),
            (Exit(0, 1), Exit(1, -9)),
        ),
        "killed",
        1,
    ),
    "a rank says why it failed and then crashes on its way out": (
        Evidence(1, (rank(0, "failed", "DataError: no file", "DataError"),), (Exit(0, -6),)),
        "user_error",
        0,
    ),
    "the kernel kills a rank for its memory": (
        Evidence(137, BUSY, (Exit(1, -9),), out_of_memory=True),
        "out_of_memory",
        1,
    ),
    "a rank hangs, and the others fail when it is ended": (
        Evidence(
            1,
            (rank(0, "running"), rank(1, "failed", "RuntimeError: connection closed")),
            (Exit(0, 1), Exit(1, 1)),
            hung=(0,),
        ),
        "hung",
        0,
    ),
    "all ranks stop before the time limit": (
        Evidence(75, (rank(0, "cancelled", TIME_LIMIT, "StoppedError"),), (Exit(0, 75),)),
        "time_limit",
        None,
    ),
    "a rank stops because of a preemption": (
        Evidence(
            75, (rank(0, "cancelled", "preemption or requeue", "StoppedError"),), stopped_for="preempted"
        ),
        "preempted",
        None,
    ),
    "somebody sends the warning by hand": (
        Evidence(75, (rank(0, "cancelled", "preemption or requeue", "StoppedError"),)),
        "interrupted",
        None,
    ),
    "a rank ends without a word": (Evidence(3, BUSY, (Exit(1, 3),)), "exception", 1),
    "no rank starts": (Evidence(127, ()), "setup_failed", None),
    "what keeps the ranks is killed": (Evidence(-9, BUSY), "killed", None),
}


@pytest.mark.parametrize("case", CASES)
def test_an_attempt_s_end_has_a_cause_and_a_rank(case: str) -> None:
    evidence, cause, rank = CASES[case]
    ending = why(evidence)
    assert (ending.cause, ending.rank) == (cause, rank)


@pytest.mark.parametrize(
    ("kind", "error", "cause"),
    [
        ("NumericalError", "the loss is nan", "not_a_number"),
        ("OSError", "OSError: [Errno 28] No space left on device: 'x'", "disk_full"),
        ("OSError", "OSError: [Errno 122] Disk quota exceeded", "disk_full"),
        ("OutOfMemoryError", "OutOfMemoryError: CUDA out of memory. Tried …", "out_of_memory"),
        ("RuntimeError", "RuntimeError: DefaultCPUAllocator: can't allocate memory: …", "out_of_memory"),
        ("OSError", "OSError: [Errno 12] Cannot allocate memory", "out_of_memory"),
        ("MemoryError", "MemoryError: ", "out_of_memory"),
        ("RuntimeError", "RuntimeError: [gloo] Timed out waiting 1800000ms for recv operation", "hung"),
        ("DataError", "data.jsonl:7: line is no JSON", "user_error"),
        ("ModelError", "there is no model", "user_error"),
        ("ShardError", "a unit is missing", "exception"),
        ("KeyError", "KeyError: 'x'", "exception"),
        (None, "", "exception"),
    ],
)
def test_an_error_s_class_and_text_say_what_it_means(kind: str | None, error: str, cause: Cause) -> None:
    assert cause_of(kind, error) == cause


SRUN = """\
launch: attempt 1 of train begins on node[1-2]
slurmstepd-node1: error: *** JOB 12 ON node1 CANCELLED AT 2026-11-22T10:16:49 DUE TO JOB REQUEUE ***
launch: attempt 2 of train begins on node[1-2]
srun: error: node2: tasks 1,3-4: Killed
srun: error: node1: task 0: Exited with exit code 7
srun: launch/slurm: _step_signal: Terminating StepId=24.0
slurmstepd-node2: error: *** STEP 24.0 ON node2 CANCELLED AT 2026-11-22T10:18:22 ***
srun: error: node2: task 2: Killed
srun: Force Terminated StepId=24.0
"""


def test_only_what_the_last_attempt_wrote_counts_and_only_ranks_that_srun_did_not_end() -> None:
    text = batch_output.last_attempt(SRUN)
    assert batch_output.ended_by_slurm(SRUN) == Ending("interrupted", "Slurm ended it to queue it again")
    assert batch_output.ended_by_slurm(text) is None
    assert batch_output.exits(text) == (Exit(1, -9), Exit(3, -9), Exit(4, -9), Exit(0, 7))
    assert not batch_output.out_of_memory(text)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "slurmstepd-n: error: *** JOB 23 ON n CANCELLED AT 2026-11-22T10:19:23 DUE TO TIME LIMIT ***",
            "time_limit",
        ),
        (
            "slurmstepd: error: *** JOB 19 ON n CANCELLED AT 2026-11-22T10:18:14 DUE TO PREEMPTION ***",
            "preempted",
        ),
        (
            "slurmstepd: error: *** JOB 19 ON n CANCELLED AT 2026-11-22T10:18:14 DUE TO NODE FAILURE, "
            "SEE SLURMCTLD LOG FOR DETAILS ***",
            "node_failure",
        ),
        ("srun: error: Node failure on node2", "node_failure"),
        ("slurmstepd-n: error: *** JOB 14 ON n CANCELLED AT 2026-11-22T10:16:48 ***", "cancelled"),
        (
            "slurmstepd: error: *** JOB 1 ON n CANCELLED AT 2026-11-22T10:16:48 DUE to SIGNAL Terminated ***",
            "cancelled",
        ),
        ("slurmstepd-n: error: *** STEP 14.0 ON n CANCELLED AT 2026-11-22T10:16:48 ***", None),
    ],
)
def test_slurm_says_why_it_ended_a_job(line: str, cause: Cause | None) -> None:
    ending = batch_output.ended_by_slurm(f"something\n{line}\n")
    assert (ending and ending.cause) == cause


@pytest.mark.parametrize(
    ("words", "code"),
    [("Segmentation fault (core dumped)", -11), ("Terminated", -15), ("Out Of Memory", -9)],
)
def test_srun_names_signals_in_the_c_library_s_words(words: str, code: int) -> None:
    assert batch_output.exits(f"srun: error: n: task 0: {words}\n") == (Exit(0, code),)


@pytest.mark.parametrize(
    "line",
    [
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=24.0 cgroup.",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=24.0.",
        "srun: error: node1: task 0: Out Of Memory",
    ],
)
def test_memory_that_ran_out_is_seen(line: str) -> None:
    assert batch_output.out_of_memory(f"{line}\n")


def test_a_hang_counts_only_in_the_attempt_that_hung(make_run: Any) -> None:
    run, starts = make_run(), "train starts as 1 of 1 ranks\n"
    job = planned(run, "train")
    rank(0, "running").write(run, "train")
    run.log("train", 0).write_text(f"{starts}Timeout (0:30:00)!\nThread 0x1 (most recent call first):\n")
    assert hung_ranks(run, job, 1) == (0,)
    # A second attempt whose rank has not begun, or says itself why it failed.
    assert hung_ranks(run, job, 2) == ()
    fail(run, "failed", "rank 0 cannot be reached", "OperationalError", 2)
    assert hung_ranks(run, job, 2) == ()
    replace(rank(0, "running"), attempt=2).write(run, "train")
    with run.log("train", 0).open("a") as log:
        log.write(f"{starts}the answer was: Timeout (0:30:00)!\n")
    assert hung_ranks(run, job, 2) == ()


@pytest.mark.parametrize(
    ("hung", "words"),
    [
        ((2,), "got no further until its time was over; its log shows where each thread stood"),
        ((0, 1), "over, as did rank 1; their logs show where each thread stood"),
        ((0, 1, 3), "over, as did ranks 1, 3; their logs show where each thread stood"),
    ],
)
def test_every_rank_that_hung_is_named(hung: tuple[int, ...], words: str) -> None:
    ending = why(Evidence(1, BUSY, hung=hung))
    assert ending.rank == hung[0]
    assert str(ending.error).endswith(words)


def test_three_attempts_from_the_same_step_are_enough(make_run: Any) -> None:
    train = planned(make_run(), "train")
    stuck = [Attempt(number, "7", "n", START, 40, START, "time_limit", "over") for number in (1, 2, 3)]
    ending = no_progress(train, stuck, 40)
    assert ending is not None
    assert ending.cause == "no_progress"
    assert str(ending) == (
        "over; 3 attempts in a row began at step 40 and got no further; raise resources.train.time_limit_min"
    )
    assert no_progress(train, stuck, 41) is None
    assert no_progress(train, stuck[:2], 40) is None
    assert no_progress(train, [replace(stuck[0], progress=39), *stuck[1:]], 40) is None


@pytest.mark.parametrize("cause", ["preempted", "node_failure"])
def test_attempts_that_lost_their_nodes_do_not_count_but_not_for_ever(make_run: Any, cause: Cause) -> None:
    train = planned(make_run(), "train")
    taken = [Attempt(number, "7", "n", START, 0, START, cause, "gone") for number in range(1, 11)]
    assert no_progress(train, taken[:9], 0) is None
    ending = no_progress(train, taken, 0)
    assert str(ending) == "gone; 10 attempts in a row began at step 0 and got no further"
    own = [replace(each, cause="killed", error="was killed") for each in taken[:3]]
    assert no_progress(train, [*own[:2], *taken[:4]], 0) is None
    ending = no_progress(train, [own[0], *taken[:4], *own[1:]], 0)
    assert str(ending) == "was killed; 7 attempts in a row began at step 0 and got no further"


def test_progress_is_the_newest_whole_checkpoint_or_the_shard_s_own_units(make_run: Any) -> None:
    run = make_run()
    for step, whole in ((10, True), (20, True), (30, False)):
        folder = run.checkpoints / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / ("COMPLETE" if whole else "model.safetensors")).touch()
    run.shards("base").mkdir(parents=True)
    for unit in (0, 1, 2, 4, 5):
        (run.shards("base") / f"unit-{unit:05d}.json").touch()
    assert progress_of(run, planned(run, "train")) == 20
    assert progress_of(run, planned(run, "evaluate-base-0")) == 3
    assert progress_of(run, planned(run, "evaluate-fine_tuned-0")) == 0
    assert progress_of(run, planned(run, "merge")) == 0


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


def planned(run: RunFolder, name: str) -> PlannedJob:
    return Plan.from_json(read_json(run.plan)).job(name)


def call(run: RunFolder, command: str, job: str = "train", *rest: str) -> int:
    return attempt.main([command, str(run.root), job, *rest])


def told(run: RunFolder, job: str = "train") -> JobState:
    state = read_job_state(run, job)
    assert state is not None
    return state


def fail(run: RunFolder, state: State, error: str, kind: str, number: int = 1) -> None:
    replace(rank(0, state, error, kind), attempt=number).write(run, "train")


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

"""Why attempts end, by what ranks, srun and Slurm leave behind."""

from dataclasses import replace
from typing import Any

import pytest
from unit.launch.attempt_states import fail, planned, rank

from launch.attempts import Cause, Ending
from launch.slurm import batch_output
from launch.stop_signals import TIME_LIMIT
from launch.why.failures import Evidence, Exit, cause_of, hung_ranks, why

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

"""What Slurm's commands answer, read from what a real 22.05 printed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from launch.slurm.answers import (
    AccountedJob,
    QueuedJob,
    accounted_attempts,
    cancel_jobs,
    queued_jobs,
    shown_job,
)
from launch.slurm.queue_reasons import never_starts, reason_words
from rankfold.errors import OperationalError

SQUEUE = """\
5|RUNNING|None|node[1-2]|2026-11-22T10:14:39|9:58
3|PENDING|Nodes required for job are DOWN, DRAINED or reserved||N/A|1:00:00
1_0|PENDING|Resources||2026-11-22T12:24:39|1-00:00:01
1_1|PENDING|Resources||2026-11-22T12:24:39|UNLIMITED
99|RUNNING|None|node1|2026-11-22T10:14:39|INVALID
"""
SACCT = """\
5|CANCELLED by 0|0:15|2026-11-22T10:14:39|2026-11-22T10:15:02|node[1-2]
1_[0-2,5:2%2]|CANCELLED by 4294967|0:0|None|2026-11-22T10:15:02|None assigned
7|FAILED|3:0|2026-11-22T10:15:05|2026-11-22T10:15:05|node1
11|PREEMPTED|0:0|2026-11-22T10:15:05|2026-11-22T10:15:09|node1
11|RUNNING|0:0|2026-11-22T10:15:15|Unknown|node2
"""
SCONTROL = (
    "JobId=7 JobName=a JobState=FAKE UserId=root(0) GroupId=root(0) QOS=normal JobState=FAILED "
    "Reason=NonZeroExitCode Dependency=(null) Requeue=1 Restarts=2 BatchFlag=1 ExitCode=3:9 "
    "StartTime=2026-11-22T10:15:05 EndTime=Unknown NodeList=(null) Command=/tmp/x JobState=FAKE WorkDir=/tmp"
)


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Slurm tells local time without a zone."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return FakeSlurm(tmp_path / "bin", monkeypatch)


@pytest.mark.usefixtures("in_berlin")
def test_the_queue_tells_state_reason_nodes_start_and_time_left(slurm: FakeSlurm) -> None:
    slurm.answer("squeue", SQUEUE)
    jobs = queued_jobs(["5", "3", "1_0", "1_1", "12"])
    starts = "2026-11-22T11:24:39+00:00"
    assert jobs == {
        "5": QueuedJob("RUNNING", "None", "node[1-2]", "2026-11-22T09:14:39+00:00", 598),
        "3": QueuedJob("PENDING", SQUEUE.splitlines()[1].split("|")[2], "", None, 3600),
        "1_0": QueuedJob("PENDING", "Resources", "", starts, 86401),
        "1_1": QueuedJob("PENDING", "Resources", "", starts, None),
    }
    (call,) = slurm.calls
    # Arrays are asked for as a whole, and told task by task.
    assert "--jobs=1,3,5,12" in call
    assert "--array" in call


def test_nothing_is_asked_for_nothing(slurm: FakeSlurm) -> None:
    assert queued_jobs([]) == {}
    assert accounted_attempts([]) == {}
    cancel_jobs([])
    assert slurm.calls == []


def test_a_job_that_the_queue_has_forgotten_is_not_an_error_but_silence_is(slurm: FakeSlurm) -> None:
    slurm.answer("squeue", error="slurm_load_jobs error: Invalid job id specified", exit_code=1)
    assert queued_jobs(["7"]) == {}
    slurm.answer("squeue", error="slurm_load_jobs error: Unable to contact slurm controller", exit_code=1)
    with pytest.raises(OperationalError, match="Unable to contact slurm controller"):
        queued_jobs(["7"])


@pytest.mark.usefixtures("in_berlin")
def test_accounting_tells_every_attempt_and_who_cancelled(slurm: FakeSlurm) -> None:
    slurm.answer("sacct", SACCT)
    known = accounted_attempts(["5", "1_0", "1_5", "7", "11", "12"])
    assert known["5"] == [
        AccountedJob(
            "CANCELLED",
            0,
            15,
            "2026-11-22T09:14:39+00:00",
            "2026-11-22T09:15:02+00:00",
            "node[1-2]",
            cancelled_by=0,
        )
    ]
    # Tasks that never started share a line.
    assert known["1_0"] == known["1_5"]
    assert (known["1_0"][0].cancelled_by, known["1_0"][0].nodes) == (4294967, "")
    assert [attempt.state for attempt in known["11"]] == ["PREEMPTED", "RUNNING"]
    assert known["11"][1].ended is None
    assert known["7"][0].exit_code == 3
    assert "12" not in known


def test_accounting_that_is_switched_off_knows_nothing(slurm: FakeSlurm) -> None:
    slurm.answer("sacct", error="Slurm accounting storage is disabled", exit_code=1)
    assert accounted_attempts(["7"]) == {}
    (slurm.folder / "sacct").unlink()
    assert accounted_attempts(["7"]) == {}


@pytest.mark.usefixtures("in_berlin")
def test_the_controller_tells_exit_code_and_restarts_and_a_name_cannot_mislead(slurm: FakeSlurm) -> None:
    slurm.answer("scontrol", SCONTROL)
    assert shown_job("7") == AccountedJob(
        *("FAILED", 3, 9, "2026-11-22T09:15:05+00:00", None, ""), restarts=2, reason="NonZeroExitCode"
    )
    slurm.answer("scontrol", error="slurm_load_jobs error: Invalid job id specified", exit_code=1)
    assert shown_job("7") is None


def test_arrays_are_cancelled_as_a_whole(slurm: FakeSlurm) -> None:
    cancel_jobs(["7", "8_0", "8_1"])
    assert slurm.calls == ["scancel 7 8"]
    slurm.answer("scancel", error="scancel: error: Kill job error on job id 7: Invalid job id", exit_code=1)
    cancel_jobs(["7"])
    slurm.answer("scancel", error="scancel: error: Access denied", exit_code=1)
    with pytest.raises(OperationalError, match="Access denied"):
        cancel_jobs(["7"])


def test_what_a_user_set_for_squeue_does_not_change_what_is_asked(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_PARTITION", "other")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    (slurm.folder / "squeue").write_text(
        f'#!/bin/sh\nenv | grep -E "^(SQUEUE|SLURM)" | sort > "{slurm.folder}/seen"\n'
    )
    queued_jobs(["7"])
    assert (slurm.folder / "seen").read_text().splitlines() == [
        "SLURM_CONF=/etc/slurm.conf",
        "SLURM_TIME_FORMAT=standard",
    ]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Resources", "next in line, until enough nodes are free (Resources)"),
        ("Priority", "other jobs are ahead of it (Priority)"),
        ("QOSMaxGRESPerUser", "a limit of your QOS is reached (QOSMaxGRESPerUser)"),
        ("AssocGrpCpuLimit", "a limit of your account is reached (AssocGrpCpuLimit)"),
        ("None", "the scheduler has not looked at it yet"),
        ("Something new", "Something new"),
    ],
)
def test_reasons_are_told_in_words(reason: str, words: str) -> None:
    assert reason_words(reason) == words


def test_some_reasons_mean_that_a_job_never_starts() -> None:
    assert never_starts("DependencyNeverSatisfied")
    assert never_starts("PartitionTimeLimit")
    assert not never_starts("Resources")
    assert not never_starts(None)

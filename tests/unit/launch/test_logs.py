"""Logs of several ranks as one stream."""

import json
from dataclasses import replace
from typing import Any

import pytest

from launch import logs
from launch.attempts import Attempt, write_attempts
from launch.cli import main
from launch.logs import log_lines
from launch.plan import Plan
from launch.states import JobState, read_json
from launch.status import RunStatus, read_status
from rankfold import atomic
from rankfold.run_folder import RunFolder


@pytest.fixture
def run(make_run: Any) -> RunFolder:
    made: RunFolder = make_run(resources={"train": {"tasks_per_node": 2}})
    atomic.write_text(made.log("prepare", 0), "读数据\n10%\r100%\n")
    atomic.write_text(made.log("train", 0), "a\nb\nc")
    atomic.write_text(made.log("train", 1), "d\n")
    return made


def lines(run: RunFolder, **chosen: Any) -> list[str]:
    default = {"stage": None, "rank": None, "lines": None, "follow": False}
    return [str(line) for line in log_lines(run, **{**default, **chosen})]


def test_lines_are_marked_with_job_and_rank_and_bars_show_their_last_state(run: RunFolder) -> None:
    assert lines(run) == [
        "prepare/0: 读数据",
        "prepare/0: 100%",
        "train/0: a",
        "train/0: b",
        "train/0: c",
        "train/1: d",
    ]


def test_a_stage_a_rank_and_the_last_lines_can_be_chosen(run: RunFolder) -> None:
    assert lines(run, stage="train", rank=1) == ["train/1: d"]
    assert lines(run, lines=1) == ["prepare/0: 100%", "train/0: c", "train/1: d"]
    assert lines(run, lines=0) == []


def test_what_a_batch_script_wrote_is_there_once_for_each_submission(run: RunFolder) -> None:
    write_attempts(run, "train", [Attempt(1, "7", "node1", "", 0), Attempt(2, "7", "node1", "", 4)])
    atomic.write_json(run.job_ids, {"train": "9"})
    run.submitit("train").mkdir()
    run.output("train", "7").write_text("launch: setup failed: cd /no\n")
    run.output("train", "9").write_text("srun: error: node1: task 0: Killed\n")
    assert lines(run, stage="train")[:2] == [
        "train/batch: launch: setup failed: cd /no",
        "train/batch: srun: error: node1: task 0: Killed",
    ]
    assert not any("batch" in line for line in lines(run, rank=0))


def test_the_batch_output_of_a_shard_lies_with_its_array(run: RunFolder) -> None:
    atomic.write_json(run.job_ids, {"evaluate-base-1": "9_1"})
    run.submitit("evaluate-base-shards").mkdir(parents=True)
    run.output("evaluate-base-shards", "9_1").write_text("hello\n")
    assert lines(run, stage="evaluate-base-1") == ["evaluate-base-1/batch: hello"]


def test_the_command_prints_one_json_object_a_line(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", str(run.root), "--stage", "prepare", "--lines", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "job": "prepare",
        "stage": "prepare",
        "rank": 0,
        "line": "100%",
    }


def test_following_goes_on_until_the_run_ends(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        rounds = 0

        @classmethod
        def sleep(cls, seconds: float) -> None:
            cls.rounds += 1
            with run.log("train", 0).open("a") as log:
                log.write(f"{cls.rounds}\nhalf")
            if cls.rounds == 2:
                for job in Plan.from_json(read_json(run.plan)).jobs:
                    JobState(job.name, job.stage, "completed", job.ranks).write(run)

    monkeypatch.setattr(logs, "time", Clock)
    assert lines(run, stage="train", rank=0, follow=True) == [
        "train/0: a",
        "train/0: b",
        "train/0: c1",
        "train/0: half2",
        "train/0: half",
    ]


def test_on_slurm_the_controller_is_asked_less_often_than_the_logs_are_read(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    atomic.write_json(run.plan, {**read_json(run.plan), "cluster": "slurm"})
    asked = []

    def status(run: RunFolder) -> RunStatus:
        asked.append(run)
        return replace(read_status(run), state="running" if len(asked) < 3 else "completed")

    class Clock:
        @staticmethod
        def sleep(seconds: float) -> None:
            with run.log("train", 0).open("a") as log:
                log.write("\n")

    monkeypatch.setattr(logs, "read_status", status)
    monkeypatch.setattr(logs, "time", Clock)
    told = lines(run, stage="train", rank=0, follow=True)
    assert (len(asked), len(told)) == (3, 3 + 2 * logs.SLURM_ROUNDS - 1)

"""Logs of several ranks as one stream."""

from typing import Any

import pytest

from launch import logs
from launch.logs import log_lines
from launch.plan import Plan
from launch.states import JobState, read_json
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
    return list(log_lines(run, **{"stage": None, "rank": None, "lines": None, "follow": False, **chosen}))


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

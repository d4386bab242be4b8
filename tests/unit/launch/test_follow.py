"""Watching a run."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from launch import follow as follow_module
from launch.attempts import Attempt, Ending
from launch.cli import main
from launch.follow import PlainView, follow, live_table
from launch.plan import Plan
from launch.processes import Process
from launch.states import JobState, RankState, now, read_json
from launch.status import Progress, RunStatus, read_status
from rankfold import atomic
from rankfold.run_folder import RunFolder


def test_a_line_when_a_job_starts_and_ends_and_at_most_every_ten_seconds_between(make_run: Any) -> None:
    seconds = [0.0]
    view = PlainView(datetime.now(UTC), clock=lambda: seconds[0])
    pending = read_status(make_run())

    def lines(status: RunStatus) -> list[str]:
        return [line.partition(" ")[2] for line in view.lines(status)]

    def with_train(**changes: Any) -> RunStatus:
        jobs = tuple(replace(j, **changes) if j.job == "train" else j for j in pending.jobs)
        return replace(pending, jobs=jobs)

    def progress(step: int) -> Progress:
        return Progress(step, 45, "step", 1.2341, 2.94, 96.2)

    assert lines(pending) == []
    started = {"state": "running", "started": now()}
    assert lines(with_train(**started)) == ["train started, 1 rank"]
    told = lines(with_train(**started, progress=progress(12)))
    assert told == ["train step 12/45 loss 1.234 2.9 s/step 1:36 left"]
    seconds[0] = 9.9
    assert lines(with_train(**started, progress=progress(13))) == []
    seconds[0] = 10.0
    assert len(lines(with_train(**started, progress=progress(14)))) == 1
    seconds[0] = 20.0
    assert lines(with_train(**started, progress=progress(14))) == []
    ended = with_train(state="completed", started=now(), seconds=130.0, progress=progress(45))
    assert lines(ended) == ["train completed in 2:10, 45 steps"]
    assert lines(ended) == []


def test_a_job_that_ran_between_two_looks_is_told_too(make_run: Any) -> None:
    run = make_run()
    view = PlainView(datetime.now(UTC))
    JobState("prepare", "prepare", "pending", 1).begin().end("completed").write(run)
    lines = [line.partition(" ")[2] for line in view.lines(read_status(run))]
    assert lines == ["prepare started, 1 rank", "prepare completed in 0:00"]


def fail(run: RunFolder) -> None:
    state = JobState("train", "train", "pending", 1).begin()
    RankState(0, Process.this(), "failed", now(), ended=now(), error="no room").write(run, "train")
    atomic.write_text(run.log("train", 0), "".join(f"line {n}\n" for n in range(30)))
    state.end("failed", "rank 0: no room").write(run)
    for job in Plan.from_json(read_json(run.plan)).jobs:
        if job.name != "train":
            JobState(job.name, job.stage, "cancelled", 1).write(run)


def test_a_failure_ends_with_who_why_where_and_the_last_lines(
    make_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    fail(run)
    assert follow(run) == 1
    text = capsys.readouterr().out
    assert "train failed: rank 0: no room" in text
    assert f"log: {run.log('train', 0)}" in text
    assert "  line 10\n" in text
    assert "  line 29\n" in text
    assert "  line 9\n" not in text


def test_success_ends_with_the_report(make_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    for job in Plan.from_json(read_json(run.plan)).jobs:
        JobState(job.name, job.stage, "pending", 1).begin().end("completed").write(run)
    atomic.write_text(run.report_markdown, "| score | before | after |\n")
    atomic.write_text(run.report_html, "<html>")
    assert follow(run) == 0
    text = capsys.readouterr().out
    assert "| score | before | after |" in text
    assert f"report: {run.report_html}" in text


def test_a_wait_in_the_queue_and_another_attempt_are_told_once(make_run: Any) -> None:
    view = PlainView(datetime.now(UTC))
    pending = read_status(make_run())

    def lines(**changes: Any) -> list[str]:
        jobs = tuple(replace(j, **changes) if j.job == "train" else j for j in pending.jobs)
        return [line.partition(" ")[2] for line in view.lines(replace(pending, jobs=jobs))]

    waits = {"reason": "Resources", "waits_for": "next in line"}
    first = Attempt(1, "7", "node1", now(), 0)
    assert lines(**waits) == ["train waits: next in line"]
    assert lines(**waits) == []
    running = {"state": "running", "started": now()}
    assert lines(**running, attempts=(first,)) == ["train started, 1 rank"]
    ended = first.end(Ending("preempted"))
    assert lines(started=now(), attempts=(ended,), **waits) == [
        "train stopped after preemption, and will run again"
    ]
    second = replace(first, number=2)
    assert lines(**running, attempts=(ended, second)) == ["train started, 1 rank, attempt 2"]


def test_a_large_array_is_one_bar(make_run: Any) -> None:
    run = make_run(evaluation={"shards": 12, "baseline": False})
    for shard in range(12):
        name = f"evaluate-fine_tuned-{shard}"
        JobState(name, "evaluate", "pending" if shard > 8 else "completed", 1).write(run)
    text = rendered(run)
    assert "evaluate-fine_tuned 0-11" in text
    assert "9 completed, 3 pending" in text
    assert "evaluate-fine_tuned-3" not in text


def rendered(run: RunFolder) -> str:
    import io

    from rich.console import Console

    output = io.StringIO()
    Console(file=output, width=120).print(live_table(read_status(run)))
    return output.getvalue()


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_cancel_it(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()

    class Interrupted:
        @staticmethod
        def sleep(seconds: float) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(follow_module, "time", Interrupted)
    assert follow_module.follow_run(run) == 1
    text = capsys.readouterr().err
    assert f"{run.run_id} goes on" in text
    assert f"launch cancel '{run.root}'" in text
    assert read_status(run).state == "pending"


def test_a_terminal_gets_a_bar_for_each_job(make_run: Any) -> None:
    run = make_run()
    fail(run)
    assert "train" in rendered(run)
    assert "failed" in rendered(run)


def test_the_command_line_follows_a_submitted_run(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    fail(run)
    assert main(["status", str(run.root)]) == 0
    assert "train failed: rank 0: no room" in capsys.readouterr().out

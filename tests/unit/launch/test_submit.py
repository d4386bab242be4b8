"""Submitting: once for the same recipe and code, checked first, and never twice by accident."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from small_recipe import EXAMPLE, write_recipe

from launch import new_run, submit
from launch.cli import main
from launch.planning import Planned, plan_recipe
from launch.processes import Process
from launch.runs import all_runs
from launch.runs_lock import submitting
from launch.snapshot import Code
from launch.states import DriverState, JobState, State, now, read_json
from launch.submit import Submitted
from rankfold import atomic
from rankfold.errors import OperationalError
from rankfold.run_folder import RunFolder

SUBMIT = ["submit", "我的 recipe.yaml", "--cluster", "local"]
Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe in the working directory, code that stays as it is, and drivers that only say they run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCH_RUNS_DIR", raising=False)
    monkeypatch.setattr(submit, "start_driver", start_nothing)
    set_code(monkeypatch, b"")
    return write_recipe(tmp_path)


def set_code(monkeypatch: pytest.MonkeyPatch, diff: bytes) -> None:
    monkeypatch.setattr(new_run, "read_code", lambda start: Code(None, "abc", "main", diff))


def start_nothing(run: RunFolder) -> int:
    DriverState(Process.this(), "running", now(), {}).write(run)
    return 4711


@pytest.fixture
def answer(recipe: Path, capsys: pytest.CaptureFixture[str]) -> Answer:
    """What a submission tells a script."""

    def submit_as_json(*arguments: str) -> dict[str, Any]:
        assert main([*SUBMIT, "--json", *arguments]) == 0
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    return submit_as_json


def end(run: RunFolder, state: State) -> RunFolder:
    for job in read_json(run.plan)["jobs"]:
        JobState(job["name"], job["stage"], "pending", 1).begin().end(state).write(run)
    DriverState(Process.this(), "running", now(), {}).end(state).write(run)
    return run


def test_a_run_that_goes_on_is_not_started_again(answer: Answer) -> None:
    first = answer()
    assert (first["submitted"], first["state"], first["driver_pid"]) == (True, "pending", 4711)
    second = answer()
    assert (second["submitted"], second["run_id"]) == (False, first["run_id"])
    assert second.keys() == first.keys()
    assert len(all_runs(Path("runs"))) == 1


def test_a_completed_run_is_not_started_again_and_its_report_is_named(
    answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = answer()["run_id"]
    run = end(RunFolder(Path("runs") / run_id), "completed")
    assert answer()["state"] == "completed"
    assert main(SUBMIT) == 0
    said = capsys.readouterr().out
    assert f"{run_id}: the same recipe and code, completed; nothing was submitted" in said
    assert f"next: launch report {run_id}\n      --again starts another run" in said

    atomic.write_text(run.report_markdown, "# Report\n")
    atomic.write_text(run.report_html, "<html>")
    assert main([*SUBMIT, "--follow"]) == 0
    assert "# Report" in capsys.readouterr().out


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_after_a_run_that_stopped_another_starts_and_resume_is_offered(
    answer: Answer, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    first = answer()["run_id"]
    end(RunFolder(Path("runs") / first), state)
    second = answer()
    assert (second["submitted"], second["resumable"]) == (True, first)
    end(RunFolder(Path("runs") / second["run_id"]), state)
    assert main(SUBMIT) == 0
    assert f"note: launch resume {second['run_id']} would go on with" in capsys.readouterr().out


def test_again_another_recipe_other_code_or_other_data_is_another_run(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer()["submitted"]
    assert answer("--again")["submitted"]
    assert answer("seed=8")["submitted"]
    assert not answer("seed=8")["submitted"]
    Path("train.jsonl").write_text(EXAMPLE.replace("Anna", "Otto"))
    assert answer()["submitted"]
    set_code(monkeypatch, b"a change")
    assert answer()["submitted"]
    assert not answer()["submitted"]


def test_a_submission_that_died_before_it_started_its_run_does_not_count(answer: Answer) -> None:
    first = RunFolder(Path("runs") / answer()["run_id"])
    first.driver_state.unlink()
    second = answer()
    assert (second["submitted"], second["resumable"]) == (True, first.run_id)


def test_two_terminals_make_one_run(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan_recipe(recipe, [], cluster="local", profile=None)
    both = threading.Barrier(2)

    def check(planned: Planned, runs_folder: Path) -> None:
        # By now both have seen that there is no run.
        both.wait(60)

    monkeypatch.setattr(submit, "check", check)

    def submit_once(_: int) -> Submitted:
        return submit.submit(planned, Path("runs"), again=False)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(submit_once, range(2)))
    assert sorted(result.is_new for result in results) == [False, True]
    assert len({result.run.root.resolve() for result in results}) == len(all_runs(Path("runs"))) == 1


def test_a_lock_that_is_held_too_long_names_its_holder_and_one_left_behind_is_none(tmp_path: Path) -> None:
    with (
        submitting(tmp_path),
        pytest.raises(OperationalError, match=r"process \d+ on .* has been submitting a run for 0 s"),
        submitting(tmp_path, patience_s=0),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == [".submitting"]
    with submitting(tmp_path, patience_s=0):
        assert all_runs(tmp_path) == []


def test_nothing_is_written_where_a_check_fails(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.jsonl").unlink()
    assert main(SUBMIT) == 2
    assert "there is no file" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_slurm_is_asked_before_anything_is_written(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main([*SUBMIT[:2], "--cluster", "slurm"]) == 2
    assert "Slurm does not answer here" in capsys.readouterr().err
    assert not Path("runs").exists()

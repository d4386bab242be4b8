"""Sweeps: one run a combination, all checked before the first starts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_recipe import write_recipe

from launch import new_run, submit, sweeps
from launch.cli import main
from launch.processes import Process
from launch.runs import all_runs
from launch.snapshot import Code
from launch.states import DriverState, JobState, State, now, read_json
from launch.sweeps import wait_for_turn
from rankfold.errors import OperationalError
from rankfold.recipe.load import load_recipe
from rankfold.run_folder import RunFolder

SUBMIT = ["submit", "我的 recipe.yaml", "--cluster", "local"]
RATES = "train.learning_rate=1e-4,3e-4"
Answer = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe in the working directory, code that stays as it is, and drivers that only say they run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCH_RUNS_DIR", raising=False)
    monkeypatch.setattr(submit, "start_driver", start_nothing)
    monkeypatch.setattr(new_run, "read_code", lambda start: Code(None, "abc"))
    return write_recipe(tmp_path)


def start_nothing(run: RunFolder) -> int:
    DriverState(Process.this(), "running", now(), {}).write(run)
    return 4711


def end(run: RunFolder, state: State) -> None:
    for job in read_json(run.plan)["jobs"]:
        JobState(job["name"], job["stage"], "pending", 1).begin().end(state).write(run)
    DriverState(Process.this(), "running", now(), {}).end(state).write(run)


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    """What a submission tells a script."""

    def submit_as_json(*arguments: str) -> dict[str, Any]:
        assert main([*SUBMIT, "--json", *arguments]) == 0
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    return submit_as_json


def test_each_combination_is_a_run_that_says_what_it_tries(answer: Answer) -> None:
    told = answer(RATES, "model.adapter.r=8,16", "seed=7")
    runs = [RunFolder(Path(row["folder"])) for row in told["runs"]]
    tried = [(row["values"]["train.learning_rate"], row["values"]["model.adapter.r"]) for row in told["runs"]]
    assert tried == [(1e-4, 8), (1e-4, 16), (3e-4, 8), (3e-4, 16)]
    for run, (rate, rank) in zip(runs, tried, strict=True):
        recipe = load_recipe(run.recipe).recipe
        assert recipe.model.adapter is not None
        assert (recipe.train.learning_rate, recipe.model.adapter.r, recipe.seed) == (rate, rank, 7)
        sweep = read_json(run.run)["sweep"]
        assert (sweep["id"], sweep["values"]["model.adapter.r"]) == (told["sweep"], rank)
    assert [read_json(run.run)["sweep"]["after"] for run in runs] == [
        None,
        *(run.run_id for run in runs[:-1]),
    ]


def test_a_sweep_is_a_table_with_the_next_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SUBMIT, RATES]) == 0
    said = capsys.readouterr().out
    name = said.partition(":")[0]
    assert f"{name}: 2 runs submitted\n" in said
    assert "train.learning_rate" in said
    assert f"launch compare --sweep {name}\n" in said


def test_the_same_sweep_again_starts_only_what_is_not_there(answer: Answer) -> None:
    first = answer(RATES)
    end(RunFolder(Path(first["runs"][0]["folder"])), "failed")
    second = answer(RATES)
    assert [row["submitted"] for row in second["runs"]] == [True, False]
    assert second["runs"][0]["resumable"] == first["runs"][0]["run_id"]
    assert second["sweep"] == first["sweep"]


def test_a_run_that_was_there_before_the_sweep_is_compared_by_name(
    answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = answer("train.learning_rate=1e-4")["run_id"]
    assert main([*SUBMIT, RATES]) == 0
    said = capsys.readouterr().out
    assert "1 of 2 runs submitted, the others were there already\n" in said
    assert f"launch compare {alone} small-" in said


def test_every_mistake_is_told_at_once_with_the_combinations_that_have_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*SUBMIT, "train.learning_rate=1e-4,-1", "seed=1,x"]) == 2
    error = capsys.readouterr().err
    assert "with train.learning_rate=1e-4 seed=x:" in error
    assert "with train.learning_rate=-1 seed=1:" in error
    assert not Path("runs").exists()

    assert main([*SUBMIT, RATES, "train.learnin_rate=1"]) == 2
    error = capsys.readouterr().err
    assert error.count("learnin_rate") == error.count("did you mean") == 1
    assert "with " not in error

    assert main([*SUBMIT, "train.learning_rate=1e-4,0.0001"]) == 2
    assert "this is the same recipe as train.learning_rate=1e-4" in capsys.readouterr().err


def test_what_is_not_there_is_told_before_the_first_run_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SUBMIT, "data.train.path=train.jsonl,gone.jsonl"]) == 2
    error = capsys.readouterr().err
    assert "with data.train.path=gone.jsonl:\n  this run cannot work:" in error
    assert not Path("runs").exists()


MANY = "seed=" + ",".join(map(str, range(21)))


def test_a_large_sweep_needs_a_yes(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SUBMIT, MANY]) == 2
    assert "these values make 21 runs, more than 20" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main([*SUBMIT, MANY]) == 2
    assert "no run was started" in capsys.readouterr().err
    assert not Path("runs").exists()
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main([*SUBMIT, MANY]) == 0
    capsys.readouterr()
    assert len(answer(MANY, "--yes")["runs"]) == len(all_runs(Path("runs"))) == 21


def test_what_was_submitted_before_a_failure_stays_and_the_same_command_goes_on(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_at_the_second(run: RunFolder) -> int:
        if read_json(run.run)["sweep"]["after"]:
            raise OperationalError("the driver process did not start")
        return start_nothing(run)

    monkeypatch.setattr(submit, "start_driver", fail_at_the_second)
    assert main([*SUBMIT, RATES]) == 1
    error = capsys.readouterr().err
    [first] = [run for run in all_runs(Path("runs")) if read_json(run.run)["sweep"]["after"] is None]
    assert "train.learning_rate=3e-4 could not be submitted: the driver process did not start" in error
    assert f"for run in {first.run_id}; do launch cancel $run; done" in error
    monkeypatch.setattr(submit, "start_driver", start_nothing)
    rows = answer(RATES)["runs"]
    assert [(row["submitted"], row["run_id"] == first.run_id) for row in rows] == [
        (False, True),
        (True, False),
    ]
    assert read_json(Path(rows[1]["folder"]) / "run.json")["sweep"]["after"] == first.run_id


def test_on_one_machine_a_run_waits_for_the_one_before_it(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (RunFolder(Path(row["folder"])) for row in answer(RATES)["runs"])
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            end(first, "failed")

    monkeypatch.setattr("time.sleep", pause)
    wait_for_turn(second, lambda: False)
    assert len(pauses) == 3
    wait_for_turn(second, lambda: False)
    wait_for_turn(first, lambda: False)
    assert len(pauses) == 3


def test_a_run_that_is_cancelled_does_not_wait_for_its_turn(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = RunFolder(Path(answer(RATES)["runs"][1]["folder"]))
    monkeypatch.setattr(sweeps, "TURN_POLL_S", -1)  # sleeping would raise
    wait_for_turn(second, lambda: True)


def test_a_plan_of_a_sweep_says_how_many_runs_and_shows_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["plan", *SUBMIT[1:], RATES]
    assert main(plan) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 runs, one a combination; the first, train.learning_rate=1e-4:\n")
    assert "0.0001" in said
    assert main([*plan, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["num_runs"], told["recipe"]["train"]["learning_rate"]) == (2, 1e-4)

"""A new run's folder: whole, private and unlike any other, or not there at all."""

import json
import re
import stat
from pathlib import Path

import pytest

from launch import new_run, submit
from launch.cli import main
from launch.new_run import create_run
from launch.planning import Planned, plan_recipe
from launch.processes import Process
from launch.runs import all_runs
from launch.states import DriverState, now, read_json
from launch.status import read_status
from rankfold.lock import read_lock
from rankfold.recipe.load import load_recipe
from rankfold.run_folder import RunFolder

RECIPE = """\
name: small
task: extractive_qa
model: {name_or_path: some/encoder}
data: {source: {path: "hub:some/squad", format: squad}}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCH_RUNS_DIR", raising=False)
    path = tmp_path / "我的 recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def planned(recipe: Path) -> Planned:
    return plan_recipe(recipe, ["seed=7"], cluster="local", profile=None)


def test_the_folder_says_what_runs_and_is_private(planned: Planned, tmp_path: Path) -> None:
    run = create_run(planned, tmp_path / "my runs", command=["launch", "submit"])
    assert re.fullmatch(r"small-\d{8}-\d{6}-[0-9a-f]{6}", run.run_id)
    assert stat.S_IMODE(run.root.stat().st_mode) == 0o700
    recipe = load_recipe(run.recipe).recipe
    assert recipe.seed == 7
    assert read_json(run.recipe_sources)["seed"] == "command line: seed=7"
    identity = read_json(run.run)
    assert identity["run_id"] == run.run_id
    assert identity["command"] == ["launch", "submit"]
    assert len(identity["recipe_sha256"]) == 64
    assert read_status(run).state == "pending"
    assert {file.name for file in run.root.iterdir()} >= {"code", "environment.json", "plan.json"}


def test_the_recipe_of_a_run_names_commits_and_the_lock_says_where_they_lie(
    planned: Planned, tmp_path: Path, hub_cache_folder: Path
) -> None:
    run = create_run(planned, tmp_path / "runs")
    recipe, sources = load_recipe(run.recipe).recipe, read_json(run.recipe_sources)
    model, data = read_lock(run)
    assert recipe.model.revision == model.revision
    assert recipe.data.source is not None
    assert recipe.data.source.path == f"hub:some/squad@{data.revision}"
    assert sources["model.revision"] == "default, its commit at submission"
    assert sources["data.source.path"].endswith("recipe.yaml:4, its commit at submission")
    folders = {Path(str(entry.folder)).name for entry in (model, data)}
    assert folders == {model.revision, data.revision}
    assert str(model.folder).startswith(str(hub_cache_folder))


def test_what_a_command_line_says_of_passwords_is_not_kept(planned: Planned, tmp_path: Path) -> None:
    words = ["launch", "submit", "https://me:hunter2@host/a.yaml", "x.token=abcdefgh12345678"]
    run = create_run(planned, tmp_path / "runs", command=words)
    kept = ["launch", "submit", "https://[redacted]@host/a.yaml", "x.token=[redacted]"]
    assert read_json(run.run)["command"] == kept


def test_two_runs_within_one_second_have_two_folders(planned: Planned, tmp_path: Path) -> None:
    runs = [create_run(planned, tmp_path / "runs") for _ in range(3)]
    assert len({run.run_id for run in runs}) == 3
    assert [read_json(run.run)["run_id"] for run in runs] == [run.run_id for run in runs]


def test_a_run_that_cannot_be_written_leaves_nothing(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: RunFolder) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(new_run, "write_environment", fail)
    with pytest.raises(OSError, match="no space left"):
        create_run(planned, tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> list[RunFolder]:
    """The runs whose driver was asked for, without one being started."""
    runs: list[RunFolder] = []

    def start(run: RunFolder) -> int:
        DriverState(Process.this(), "running", now(), {}).write(run)
        runs.append(run)
        return 4711

    monkeypatch.setattr(submit, "start_driver", start)
    return runs


def test_submit_says_where_the_run_is_and_what_to_do_next(
    recipe: Path, driven: list[RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", str(recipe), "--cluster", "local"]) == 0
    text = capsys.readouterr().out
    [run] = driven
    assert f"{run.run_id}: this machine, process 4711" in text
    assert f"next: launch status {run.run_id}" in text
    assert all_runs(Path("runs")) == driven


def test_submit_names_the_folder_where_the_id_alone_would_not_be_found(
    recipe: Path, tmp_path: Path, driven: list[RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", str(recipe), "--cluster", "local", "--runs-dir", "my 运行"]) == 0
    assert f"launch status '{driven[0].root}'" in capsys.readouterr().out


def test_submit_as_json(recipe: Path, driven: list[RunFolder], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", str(recipe), "--cluster", "local", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["run_id"] == driven[0].run_id
    assert (answer["cluster"], answer["driver_pid"], answer["job_ids"]) == ("local", 4711, {})


def test_slurm_that_does_not_answer_is_a_mistake_of_the_user(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["submit", str(recipe), "--cluster", "slurm"]) == 2
    assert "Slurm does not answer here" in capsys.readouterr().err
    assert not Path("runs").exists()

"""What is in the environment of whoever submits reaches the jobs through it, and is written nowhere."""

import pickle
import stat
import subprocess
from pathlib import Path

import pytest
from fake_hub import fill_cache
from secrets_of_nobody import SECRETS, holding

from launch.cli import main
from launch.job import RankJob
from launch.new_run import create_run
from launch.planning import plan_recipe
from rankfold.run_folder import RunFolder

RECIPE = """\
name: small
task: extractive_qa
model: {name_or_path: some/encoder}
data: {source: {path: data.json, format: squad}}
evaluation: {shards: 2}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe that can be submitted, among secrets, in a git checkout with a remote that has a password."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    fill_cache(tmp_path / "hub", "some/encoder")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.json").write_text('{"data": []}')
    (tmp_path / "small.yaml").write_text(RECIPE)
    (tmp_path / "lab.yaml").write_text("partition: gpu\nenvironment: {NCCL_DEBUG: INFO}\n")
    return tmp_path / "small.yaml"


def test_no_secret_is_in_the_folder_of_a_run_or_in_what_is_pickled(recipe: Path, tmp_path: Path) -> None:
    planned = plan_recipe(recipe, [], cluster="slurm", profile="lab.yaml")
    run = create_run(planned, tmp_path / "runs")
    jobs = [pickle.dumps(RankJob.of(run, job)) for job in planned.plan.jobs]
    assert len(jobs) == 7
    assert not [job for job in jobs if holding(job)]
    files = [path for path in run.root.rglob("*") if path.is_file()]
    assert {file.name for file in files} >= {"environment.json", "run.json", "recipe.yaml", "lock.json"}
    assert not [file for file in files if holding(file.read_bytes())]


def test_no_secret_is_in_a_batch_script(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("--all", "--json"):
        assert main(["plan", str(recipe), "--cluster", "slurm", "--profile", "lab.yaml", form]) == 0
        text = capsys.readouterr().out
        assert "#SBATCH" in text
        assert "NCCL_DEBUG" in text
        assert not holding(text.encode())


def test_only_the_user_can_look_into_a_run(recipe: Path, tmp_path: Path) -> None:
    run = create_run(plan_recipe(recipe, [], cluster="local", profile=None), tmp_path / "runs")
    assert stat.S_IMODE(run.root.stat().st_mode) == 0o700


def test_what_is_recorded_of_git_names_no_remote(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launch.snapshot import read_code, write_code

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    url = f"https://me:{SECRETS['MADE_UP_TOKEN']}@host/me/x.git"
    for command in (["init", "--quiet"], ["remote", "add", "origin", url]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    (tmp_path / ".gitmodules").write_text(f'[submodule "x"]\n\turl = {url}\n')
    run = RunFolder(tmp_path / "run")
    write_code(run, read_code(tmp_path))
    files = [path for path in run.root.rglob("*") if path.is_file()]
    assert "://[redacted]@host/me/x.git" in (run.untracked / ".gitmodules").read_text()
    assert not [file for file in files if holding(file.read_bytes())]

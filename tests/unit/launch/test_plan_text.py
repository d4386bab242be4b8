"""`launch plan` as people read it. Golden files: REWRITE_GOLDEN=1 pytest … writes them anew."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from launch import planning
from launch.cli import main
from launch.machine import Machine

GOLDEN = Path(__file__).parent / "golden"
RECIPE = """\
name: questions
task: extractive_qa
model: {name_or_path: some/encoder}
data:
  source: {path: "hub:some/squad", format: squad}
train:
  num_train_epochs: 2
  gradient_accumulation_steps: 2
evaluation: {shards: 3}
resources:
  train: {nodes: 2, gpus_per_node: 4, memory_gb: 64, time_limit_min: 240}
  evaluate: {gpus_per_node: 1}
"""
PROFILE = "partition: a100\nsetup: ['module load cuda', 'export NOTE=\"我的 笔记\"']\n"


@pytest.fixture(autouse=True)
def _small_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("LAUNCH_RUNS_DIR", raising=False)
    monkeypatch.setattr(planning, "this_machine", lambda: Machine(2))
    (tmp_path / "questions.yaml").write_text(RECIPE)
    (tmp_path / "lab.yaml").write_text(PROFILE)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("plan_local", ["--cluster", "local", "train.learning_rate=1e-4"]),
        ("plan_slurm", ["--cluster", "slurm", "--profile", "lab.yaml"]),
    ],
)
def test_a_plan_reads_like_its_golden_file_and_writes_nothing(
    name: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["plan", "questions.yaml", *arguments]) == 0
    text = capsys.readouterr().out
    text = text.replace(shlex.quote(sys.executable), "PYTHON").replace(str(tmp_path), "HERE")
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("REWRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert sorted(tmp_path.rglob("*")) == before


def test_all_shows_the_defaults_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "questions.yaml", "--all", "--no-scripts"]) == 0
    text = capsys.readouterr().out
    assert "train.max_grad_norm" in text
    assert "submitit" not in text


def test_json_has_recipe_sources_plan_and_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "questions.yaml", "--json", "--cluster", "slurm"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["recipe"]["name"] == "questions"
    assert plan["sources"]["name"] == "questions.yaml:1"
    assert plan["plan"]["world_size"] == 8
    assert set(plan["scripts"]) == {job["name"] for job in plan["plan"]["jobs"]}


def test_data_that_is_not_here_leaves_the_steps_unknown_and_is_mentioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "questions.yaml").write_text(RECIPE.replace("hub:some/squad", "no.json"))
    assert main(["plan", "questions.yaml", "--no-scripts"]) == 0
    text = capsys.readouterr().out
    assert "optimizer steps     unknown until prepare" in text
    assert "note: the training examples cannot be counted: " in text

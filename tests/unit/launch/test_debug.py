"""Every stage in this process."""

import os
from pathlib import Path
from typing import Any

import pytest

from launch import debug
from launch.cli import main
from launch.job import RankJob
from launch.machine import Machine
from launch.runs import all_runs
from launch.states import read_json
from launch.status import read_status
from rankfold import atomic
from rankfold.errors import DataError
from rankfold.recipe.load import load_recipe

RECIPE = """\
name: small
task: extractive_qa
model: {name_or_path: some/encoder}
data: {source: {path: "hub:some/squad", format: squad}}
evaluation: {shards: 8}
distributed: {strategy: zero2}
resources: {train: {nodes: 2, gpus_per_node: 4}}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCH_RUNS_DIR", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))


def test_every_stage_runs_here_in_order_on_a_slice_and_the_user_s_overrides_win(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = []

    def stage(job: RankJob) -> None:
        called.append((job.job, os.getpid()))
        if job.stage == "merge":
            atomic.write_text(job.run.report_markdown, "the report\n")
            atomic.write_text(job.run.report_html, "<html>")

    monkeypatch.setattr(debug, "run_stage", stage)
    assert main(["debug", "small.yaml", "train.max_steps=9"]) == 0
    jobs = ["prepare", "evaluate-base-0", "train", "evaluate-fine_tuned-0", "merge"]
    assert called == [(job, os.getpid()) for job in jobs]
    assert "the report" in capsys.readouterr().out
    [run] = all_runs(Path("runs"))
    assert run.run_id.startswith("debug-small-")
    assert read_status(run).state == "completed"
    recipe = load_recipe(run.recipe).recipe
    assert (recipe.data.max_train_examples, recipe.train.max_steps) == (16, 9)
    assert (recipe.distributed.strategy, recipe.resources.train.nodes) == ("none", 1)
    assert os.environ["WORLD_SIZE"] == "1"


@pytest.mark.parametrize(
    ("raised", "code", "state"),
    [(DataError("no data"), 2, "failed"), (KeyboardInterrupt(), 1, "cancelled")],
)
def test_what_a_stage_raises_ends_the_run(
    raised: BaseException, code: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(job: RankJob) -> None:
        raise raised

    monkeypatch.setattr(debug, "run_stage", stage)
    assert main(["debug", "small.yaml"]) == code
    [run] = all_runs(Path("runs"))
    status = read_status(run)
    assert (status.state, status.jobs[0].state) == (state, state)
    assert read_json(run.driver_state)["state"] == state


def test_an_unexpected_error_comes_out_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def stage(job: RankJob) -> Any:
        return 1 / 0

    monkeypatch.setattr(debug, "run_stage", stage)
    with pytest.raises(ZeroDivisionError):
        main(["debug", "small.yaml"])


def test_a_gpu_is_used_where_there_is_one() -> None:
    assert "resources.train.gpus_per_node=1" in debug.debug_overrides(Machine(4, ("0", "1")))
    assert "resources.train.gpus_per_node=0" in debug.debug_overrides(Machine(4))

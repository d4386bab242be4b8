"""How runs are: from their files, from squeue, by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.machine import Machine
from launch.plan import Plan, make_plan
from launch.processes import Process
from launch.runs import all_runs, find_run
from launch.slurm import QueuedJob
from launch.states import DriverState, JobState, RankState, now, read_json
from launch.status import read_status
from launch.status_text import run_lines, runs_lines
from rankfold import atomic
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder


def begin(run: RunFolder, job: str) -> JobState:
    return JobState(job, job.split("-")[0], "pending", 1).begin().write(run)


def test_a_running_run_shows_its_ranks_and_its_progress(make_run: Any) -> None:
    run = make_run()
    begin(run, "prepare").end("completed").write(run)
    begin(run, "train")
    RankState(0, Process.this(), "running", now()).write(run, "train")
    progress = {
        "stage": "train",
        "step": 12,
        "total": 45,
        "unit": "step",
        "loss": 1.2341,
        "seconds_per_step": 2.9,
        "seconds_left": 96,
        "updated": now(),
    }
    atomic.write_json(run.progress("train"), progress)
    DriverState(Process.this(), "running", now(), {}).write(run)
    status = read_status(run)
    assert status.state == "running"
    text = "\n".join(run_lines(run, status, color=False))
    assert "step 12/45 loss 1.234 2.9 s/step 1:36 left" in text
    assert "1/1" in text
    assert "\x1b" not in text
    colored = "\n".join(run_lines(run, status, color=True))
    assert "\x1b[1mrunning\x1b[0m" in colored


def test_a_run_that_has_not_started_is_pending_and_one_that_ended_completed(make_run: Any) -> None:
    run = make_run()
    assert read_status(run).state == "pending"
    for job in Plan.from_json(read_json(run.plan)).jobs:
        begin(run, job.name).end("completed").write(run)
    assert read_status(run).state == "completed"


def test_a_driver_on_another_host_is_believed(make_run: Any) -> None:
    run = make_run()
    begin(run, "prepare")
    elsewhere = replace(Process.this(), pid=1, started="0", host="another")
    DriverState(elsewhere, "running", now(), {}).write(run)
    assert read_status(run).state == "running"
    DriverState(replace(elsewhere, host=Process.this().host), "running", now(), {}).write(run)
    status = read_status(run)
    assert (status.state, status.failed_job) == ("failed", "prepare")
    assert {job.state for job in status.jobs} == {"failed", "cancelled"}


@pytest.fixture
def slurm_run(tmp_path: Path, make_run: Any, make_recipe: Any) -> RunFolder:
    run: RunFolder = make_run()
    plan = make_plan(make_recipe(), cluster="slurm", machine=Machine(1), num_train_examples=None)
    atomic.write_json(run.plan, plan.to_json())
    ids = {job.name: str(100 + number) for number, job in enumerate(plan.jobs)}
    atomic.write_json(run.job_ids, ids)
    return run


@pytest.mark.parametrize(
    ("slurm_state", "state", "error"),
    [
        ("PENDING", "pending", None),
        ("RUNNING", "running", None),
        ("COMPLETED", "completed", None),
        ("CANCELLED", "cancelled", None),
        ("OUT_OF_MEMORY", "failed", "Slurm says OUT_OF_MEMORY"),
        ("TIMEOUT", "failed", "Slurm says TIMEOUT"),
    ],
)
def test_squeue_says_how_a_job_is_that_has_not_said_so_itself(
    slurm_run: RunFolder, slurm_state: str, state: str, error: str | None
) -> None:
    status = read_status(slurm_run, {"100": QueuedJob(slurm_state, "Priority")})
    assert (status.jobs[0].state, status.jobs[0].error) == (state, error)
    assert status.jobs[0].waits_for == ("Priority" if state == "pending" else None)


def test_what_a_job_says_of_itself_counts_more_than_squeue(slurm_run: RunFolder) -> None:
    begin(slurm_run, "prepare").end("failed", "rank 0: no").write(slurm_run)
    status = read_status(slurm_run, {"100": QueuedJob("RUNNING", "")})
    assert (status.jobs[0].state, status.error) == ("failed", "rank 0: no")


def test_a_job_that_left_the_queue_without_a_word_has_failed(slurm_run: RunFolder) -> None:
    begin(slurm_run, "prepare")
    status = read_status(slurm_run, {})
    assert [job.state for job in status.jobs[:2]] == ["failed", "cancelled"]
    assert status.jobs[0].error == "left Slurm's queue without finishing"


def test_a_rank_that_srun_saw_die_is_named(slurm_run: RunFolder) -> None:
    begin(slurm_run, "prepare")
    atomic.write_text(
        slurm_run.submitit("prepare") / "100_0_log.out",
        "submitit INFO\nsrun: error: node2: task 1: Killed\nsrun: error: node1: task 0: Terminated\n",
    )
    status = read_status(slurm_run, {"100": QueuedJob("FAILED", "")})
    assert status.jobs[0].error == "Slurm says FAILED; srun: node2: task 1: Killed"


def test_runs_are_found_by_id_start_path_recipe_and_as_the_latest(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_run("small-1"), make_run("small-2")
    folder = first.root.parent
    (folder / ".small-3.tmp").mkdir()
    (folder / "notes").mkdir()
    assert [run.run_id for run in all_runs(folder)] == ["small-1", "small-2"]
    assert find_run("small-1", folder) == first
    assert find_run(str(first.root), tmp_path) == first
    monkeypatch.chdir(folder)
    assert find_run("small-1", tmp_path) == first
    assert find_run("latest", folder) == second
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: small\ntask: extractive_qa\nmodel: {name_or_path: m}\n"
        "data: {source: {path: 'hub:x', format: squad}}\n"
    )
    assert find_run(str(recipe), folder) == second
    with pytest.raises(UserError, match="'small' may be any of small-2, small-1"):
        find_run("small", folder)
    with pytest.raises(UserError, match=r"no run 'x' in .*; newest: small-2, small-1"):
        find_run("x", folder)
    with pytest.raises(UserError, match="no run 'latest', nor any other"):
        find_run("latest", tmp_path / "none")


def test_the_table_of_runs_has_the_newest_first_and_says_why_one_failed(make_run: Any) -> None:
    first, second = make_run("small-1"), make_run("small-2")
    begin(first, "prepare").end("failed", "rank 0: " + "长" * 200).write(first)
    lines = list(runs_lines([read_status(first), read_status(second)], color=False))
    assert lines[1].startswith("small-2  pending  local")
    assert lines[2].startswith("small-1  failed   local  2026-01-01 00:00  prepare: rank 0: 长")
    assert lines[2].endswith("…")

"""How runs are: from their files, from squeue, by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm

from launch.attempts import Attempt, write_attempts
from launch.machine import Machine
from launch.plan import Plan, make_plan
from launch.processes import Process
from launch.runs import all_runs, find_run
from launch.slurm.answers import AccountedJob, QueuedJob
from launch.slurm.states import SlurmAnswers
from launch.states import DriverState, JobState, RankState, mark_pending, now, read_json
from launch.status import read_all, read_status
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


def with_queue(**jobs: QueuedJob) -> SlurmAnswers:
    """What Slurm answers; `job100` stands for the job 100, `job102_1` for a task of an array."""
    return SlurmAnswers({name.removeprefix("job"): job for name, job in jobs.items()})


def with_accounting(state: str, by: int | None = None) -> SlurmAnswers:
    return SlurmAnswers(accounted={"100": AccountedJob(state, 0, 0, None, None, "", by)})


@pytest.mark.parametrize(
    ("slurm_state", "state", "error"),
    [
        ("PENDING", "pending", None),
        ("RUNNING", "running", None),
        ("COMPLETING", "running", None),
        ("COMPLETED", "completed", None),
        ("CANCELLED", "cancelled", "cancelled with scancel"),
        ("OUT_OF_MEMORY", "failed", "Slurm says OUT_OF_MEMORY: it used more memory than it had asked for"),
        ("TIMEOUT", "failed", "Slurm says TIMEOUT: its time limit was over"),
    ],
)
def test_squeue_says_how_a_job_is_that_has_not_said_so_itself(
    slurm_run: RunFolder, slurm_state: str, state: str, error: str | None
) -> None:
    status = read_status(slurm_run, with_queue(job100=QueuedJob(slurm_state, "Priority")))
    assert (status.jobs[0].state, status.jobs[0].error) == (state, error)
    waits = "other jobs are ahead of it (Priority)"
    assert status.jobs[0].waits_for == (waits if state == "pending" else None)


def test_what_a_job_says_of_itself_counts_more_than_squeue(slurm_run: RunFolder) -> None:
    begin(slurm_run, "prepare").end("failed", "rank 0: no").write(slurm_run)
    status = read_status(slurm_run, with_queue(job100=QueuedJob("RUNNING", "")))
    assert (status.jobs[0].state, status.error) == ("failed", "rank 0: no")


@pytest.mark.parametrize(
    ("answers", "state", "error"),
    [
        (with_accounting("NODE_FAIL"), "failed", "Slurm says NODE_FAIL: a node failed"),
        (with_accounting("CANCELLED", 0), "cancelled", "cancelled with scancel by root"),
        (with_accounting("COMPLETED"), "completed", None),
        # Accounting lags: what it still calls running has left the queue.
        (with_accounting("RUNNING"), "failed", "left Slurm's queue without finishing"),
        (SlurmAnswers(), "failed", "left Slurm's queue without finishing"),
    ],
)
def test_accounting_and_then_the_files_say_how_a_job_ended_that_left_the_queue(
    slurm_run: RunFolder, answers: SlurmAnswers, state: str, error: str | None
) -> None:
    begin(slurm_run, "prepare")
    status = read_status(slurm_run, answers)
    assert (status.jobs[0].state, status.jobs[0].error) == (state, error)
    assert status.jobs[1].error == "left Slurm's queue without starting"


@pytest.mark.parametrize("began", [True, False])
@pytest.mark.parametrize(
    ("output", "state", "error"),
    [
        ("JOB 100 ON n CANCELLED AT 2026-11-22T10:16:48", "cancelled", "cancelled with scancel"),
        (
            "JOB 100 ON n CANCELLED AT 2026-11-22T10:16:48 DUE TO TIME LIMIT",
            "failed",
            "its time limit was over",
        ),
    ],
)
def test_without_accounting_the_output_says_how_a_job_ended_that_left_the_queue(
    slurm_run: RunFolder, output: str, state: str, error: str, began: bool
) -> None:
    if began:
        begin(slurm_run, "prepare")
    atomic.write_text(slurm_run.output("prepare", "100"), f"slurmstepd: error: *** {output} ***\n")
    status = read_status(slurm_run, SlurmAnswers())
    assert (status.jobs[0].state, status.jobs[0].error) == (state, error)


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (
            "launch: setup failed: module load x (exit status 1)\n",
            "setup failed: module load x (exit status 1)",
        ),
        ("/opt/python: No such file or directory\n", "left Slurm's queue without finishing"),
    ],
)
def test_without_accounting_a_job_that_failed_before_its_ranks_is_not_called_cancelled(
    slurm_run: RunFolder, output: str, error: str
) -> None:
    atomic.write_text(slurm_run.output("prepare", "100"), output)
    status = read_status(slurm_run, SlurmAnswers())
    assert (status.jobs[0].state, status.jobs[0].error) == ("failed", error)


def test_where_slurm_is_silent_the_files_count_and_a_note_says_so(slurm_run: RunFolder) -> None:
    begin(slurm_run, "prepare")
    status = read_status(slurm_run, SlurmAnswers(silent="squeue does not answer: no controller"))
    assert [job.state for job in status.jobs[:2]] == ["running", "pending"]
    assert "no controller" in "\n".join(run_lines(slurm_run, status, color=False))
    assert "no controller" in "\n".join(runs_lines([status], color=False))


def test_a_rank_that_srun_saw_die_is_named(slurm_run: RunFolder) -> None:
    begin(slurm_run, "prepare")
    atomic.write_text(
        slurm_run.output("prepare", "100"),
        "submitit INFO\nsrun: error: node2: task 1: Killed\nsrun: error: node1: task 0: Terminated\n",
    )
    status = read_status(slurm_run, with_queue(job100=QueuedJob("FAILED", "")))
    assert status.jobs[0].error is not None
    assert status.jobs[0].error.endswith("; srun: node2: task 1: Killed")


def test_a_job_names_the_job_it_waits_for_or_waits_for_in_vain(slurm_run: RunFolder) -> None:
    waiting = QueuedJob("PENDING", "Dependency")
    status = read_status(slurm_run, with_queue(job100=QueuedJob("RUNNING", ""), job101=waiting))
    assert status.jobs[1].waits_for == "waits for prepare"
    begin(slurm_run, "prepare").end("failed", "no").write(slurm_run)
    never = QueuedJob("PENDING", "DependencyNeverSatisfied")
    status = read_status(slurm_run, with_queue(job101=never))
    assert status.jobs[1].waits_for == "never starts: prepare failed"


def requeued(run: RunFolder, attempt: Attempt) -> str:
    """What is said of `prepare` while it waits for its second attempt."""
    write_attempts(run, "prepare", [attempt])
    progress = {"stage": "prepare", "step": 40, "total": 45, "unit": "step", "updated": now()}
    progress |= {"loss": None, "seconds_per_step": None, "seconds_left": None}
    atomic.write_json(run.progress("prepare"), progress)
    queue = with_queue(job100=QueuedJob("PENDING", "BeginTime", starts="2026-01-01T00:00:00+00:00"))
    return "\n".join(run_lines(run, read_status(run, queue), color=False))


def test_a_requeued_job_says_why_its_last_attempt_ended_and_where(slurm_run: RunFolder) -> None:
    text = requeued(slurm_run, Attempt(1, "100", "node1", now(), 0, now(), "preempted"))
    assert "pending (attempt 2 after preemption at step 40)" in text
    assert "starts about 2026-01-01" in text


def test_an_attempt_that_slurm_ended_by_itself_is_explained_by_the_batch_output(
    slurm_run: RunFolder,
) -> None:
    line = "slurmstepd: error: *** JOB 100 ON node1 CANCELLED AT 2026-11-22T10:15:20 DUE TO PREEMPTION ***\n"
    atomic.write_text(slurm_run.output("prepare", "100"), line)
    text = requeued(slurm_run, Attempt(1, "100", "node1", now(), 0))
    assert "pending (attempt 2 after preemption at step 40)" in text


def test_a_second_attempt_shows_its_number_nodes_ranks_and_a_time_limit_that_comes_too_soon(
    slurm_run: RunFolder,
) -> None:
    begin(slurm_run, "prepare")
    first = Attempt(1, "100", "node1", now(), 0, now(), "time_limit")
    write_attempts(slurm_run, "prepare", [first, Attempt(2, "100", "node2", now(), 40)])
    RankState(0, Process.this(), "running", now(), attempt=1).write(slurm_run, "prepare")
    progress = {"stage": "prepare", "step": 41, "total": 90, "unit": "step", "loss": None, "updated": now()}
    atomic.write_json(
        slurm_run.progress("prepare"), progress | {"seconds_per_step": 2.0, "seconds_left": 98.0}
    )
    status = read_status(slurm_run, with_queue(job100=QueuedJob("RUNNING", "None", "node2", None, 59)))
    text = "\n".join(run_lines(slurm_run, status, color=False))
    assert "running (attempt 2)" in text
    assert " 0/1 " in text
    assert " node2 " in text
    assert "1:38 left, but the time limit comes in 0:59" in text


@pytest.fixture
def many_shards(make_run: Any, make_recipe: Any) -> RunFolder:
    """A run on Slurm with six shards, four of which are somewhere else than at the start."""
    run: RunFolder = make_run()
    recipe = make_recipe(evaluation={"shards": 6, "baseline": False})
    plan = make_plan(recipe, cluster="slurm", machine=Machine(1), num_train_examples=None)
    atomic.write_json(run.plan, plan.to_json())
    mark_pending(run, plan)
    for shard in range(2):
        begin(run, f"evaluate-fine_tuned-{shard}").end("completed").write(run)
    for shard in (2, 3):
        begin(run, f"evaluate-fine_tuned-{shard}").end("failed", "rank 0: no").write(run)
    return run


def test_many_shards_are_one_line_and_every_one_is_shown_on_demand(many_shards: RunFolder) -> None:
    status = read_status(many_shards, SlurmAnswers())
    text = "\n".join(run_lines(many_shards, status, color=False))
    assert "evaluate-fine_tuned 0-5" in text
    assert "2 completed, 2 pending, 2 failed" in text
    assert "evaluate-fine_tuned-2 failed: rank 0: no (1 more of its shards failed)" in text
    everything = "\n".join(run_lines(many_shards, status, color=False, everything=True))
    assert "evaluate-fine_tuned-3 failed: rank 0: no\n" in everything
    assert "evaluate-fine_tuned 0-5" not in everything


def test_slurm_is_asked_once_for_all_runs_and_not_for_those_that_have_ended(
    slurm_run: RunFolder, make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = FakeSlurm(tmp_path / "bin", monkeypatch)
    slurm.answer("squeue", "100|RUNNING|None|node1|N/A|1:00\n")
    begin(slurm_run, "prepare")
    first, second = read_all([slurm_run, make_run("small-2")])
    assert (first.jobs[0].state, first.jobs[0].limit_seconds_left) == ("running", 60)
    assert second.state == "pending"
    assert [call.split()[0] for call in slurm.calls] == ["squeue", "sacct"]
    for job in Plan.from_json(read_json(slurm_run.plan)).jobs:
        begin(slurm_run, job.name).end("completed").write(slurm_run)
    assert read_status(slurm_run).state == "completed"
    assert len(slurm.calls) == 2


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

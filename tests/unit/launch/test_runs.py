"""Which run a name means, and whether somebody lived to start all of it."""

from pathlib import Path
from typing import Any

import pytest

from launch.machine import Machine
from launch.plan import make_plan
from launch.processes import Process
from launch.runs import all_runs, find_run, name_for_commands, runs_folder, was_started
from launch.states import DriverState, now
from rankfold import atomic
from rankfold.errors import UserError


def test_a_run_is_found_by_its_id_its_start_its_folder_or_as_the_latest(make_run: Any) -> None:
    first, second = make_run("small-1"), make_run("small-a-2")
    folder = first.root.parent
    assert all_runs(folder) == [first, second]
    for name in ("small-a-2", "small-a", "latest", str(second.root)):
        assert find_run(name, folder) == second
    assert find_run("small-1", folder) == first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("small", "'small' may be any of small-2, small-1"),
        ("x", "there is no run 'x' in .*; newest: small-2"),
    ],
)
def test_a_name_that_means_none_or_several_lists_what_there_is(
    make_run: Any, name: str, message: str
) -> None:
    folder = make_run("small-1").root.parent
    make_run("small-2")
    with pytest.raises(UserError, match=message):
        find_run(name, folder)


def test_hidden_and_unfinished_folders_are_no_runs(make_run: Any) -> None:
    run = make_run()
    (run.root.parent / ".submitting").touch()
    (run.root.parent / "notes").mkdir()
    (run.root.parent / ".small.tmp").mkdir()
    assert all_runs(run.root.parent) == [run]


def test_a_run_on_this_machine_was_started_once_its_driver_has_said_so(make_run: Any) -> None:
    run = make_run()
    assert not was_started(run)
    DriverState(Process.this(), "running", now(), {}).write(run)
    assert was_started(run)


def test_a_run_on_slurm_was_started_once_every_job_has_an_id(make_run: Any, make_recipe: Any) -> None:
    run = make_run()
    plan = make_plan(make_recipe(), cluster="slurm", machine=Machine(1), num_train_examples=None)
    atomic.write_json(run.plan, plan.to_json())
    assert not was_started(run)
    ids = {job.name: str(number) for number, job in enumerate(plan.jobs)}
    atomic.write_json(run.job_ids, {"prepare": "0"})
    assert not was_started(run)
    atomic.write_json(run.job_ids, ids)
    assert was_started(run)


def test_the_next_command_names_the_folder_where_the_id_alone_would_not_be_found(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    assert name_for_commands(run) == f"'{run.root}'"
    monkeypatch.setenv("LAUNCH_RUNS_DIR", str(run.root.parent))
    assert name_for_commands(run) == run.run_id


def test_the_folder_of_runs_is_the_one_named_then_the_environment_s_then_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAUNCH_RUNS_DIR", "elsewhere")
    assert runs_folder(Path("named")) == Path("named")
    assert runs_folder(None) == Path("elsewhere")
    monkeypatch.delenv("LAUNCH_RUNS_DIR")
    assert runs_folder(None) == Path("runs")

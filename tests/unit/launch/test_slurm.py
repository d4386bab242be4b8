"""Submitting to Slurm, with commands on PATH that answer as Slurm's do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch import slurm, submission
from launch.cancel import cancel_run
from launch.machine import Machine
from launch.plan import Plan, make_plan
from launch.profiles import ClusterProfile
from launch.states import read_job_state, read_json
from launch.status import read_status
from rankfold import atomic
from rankfold.errors import OperationalError
from rankfold.run_folder import RunFolder

SBATCH = """\
n=$(cat count 2>/dev/null || echo 40); n=$((n + 1)); echo $n > count
env | grep -E '^(SLURM|SBATCH)_' > environment.$n
if [ -e refuse ] && grep -q 'name=small-train' "$1"; then
  echo 'sbatch: error: no such partition: 中' >&2; exit 1
fi
cp "$1" script.$n; echo "Submitted batch job $n"
"""
ANSWERS = {
    "sbatch": SBATCH,
    "srun": "",
    "scontrol": "echo 'Slurmctld(primary) at node1 is UP'",
    "squeue": "echo '41|RUNNING|None'; echo '42|PENDING|Dependency'",
    "scancel": 'echo "$@" >> cancelled',
}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put Slurm's commands on PATH; call it to change what one of them does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)

    def answer(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    for name, script in ANSWERS.items():
        answer(name, script)
    return answer


@pytest.fixture
def plan(make_recipe: Any) -> Plan:
    recipe = make_recipe(evaluation={"shards": 2, "baseline": False})
    return make_plan(recipe, cluster="slurm", machine=Machine(1), num_train_examples=None)


@pytest.fixture
def run(make_run: Any, plan: Plan) -> RunFolder:
    made: RunFolder = make_run(evaluation={"shards": 2, "baseline": False})
    atomic.write_json(made.plan, plan.to_json())
    return made


@pytest.mark.usefixtures("commands")
def test_each_job_is_submitted_after_those_it_needs(
    run: RunFolder, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SBATCH_PARTITION", "surprise")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    ids = submission.submit_plan(run, plan, ClusterProfile())
    expected = {"prepare": "41", "train": "42", "evaluate-fine_tuned-0": "43", "evaluate-fine_tuned-1": "44"}
    assert ids == {**expected, "merge": "45"} == read_json(run.job_ids)
    assert "--dependency=afterok:41" in (tmp_path / "script.42").read_text()
    assert "--dependency=afterok:42" in (tmp_path / "script.44").read_text()
    assert "--dependency=afterok:43:44" in (tmp_path / "script.45").read_text()
    # A surrounding job must not change what a new one asks for.
    assert (tmp_path / "environment.41").read_text() == "SLURM_CONF=/etc/slurm.conf\n"
    assert os.environ["SBATCH_PARTITION"] == "surprise"
    status = read_status(run)
    assert [job.state for job in status.jobs[:2]] == ["running", "pending"]
    assert status.jobs[1].waits_for == "Dependency"


@pytest.mark.usefixtures("commands")
def test_a_refused_job_takes_back_those_before_it(run: RunFolder, plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    with pytest.raises(OperationalError) as caught:
        submission.submit_plan(run, plan, ClusterProfile())
    assert "sbatch refused the job train; the 1 before it are cancelled: " in caught.value.message
    assert "sbatch: error: no such partition: 中" in caught.value.message
    assert (tmp_path / "cancelled").read_text() == "41\n"
    state = read_job_state(run, "prepare")
    assert state is not None
    assert state.state == "cancelled"


@pytest.mark.usefixtures("commands")
def test_cancel_cancels_every_job_of_the_run(run: RunFolder, plan: Plan, tmp_path: Path) -> None:
    submission.submit_plan(run, plan, ClusterProfile())
    assert cancel_run(run)
    assert (tmp_path / "cancelled").read_text() == "41 42 43 44 45\n"
    assert read_status(run).state == "cancelled"
    assert not cancel_run(run)


def test_slurm_answers_only_where_its_controller_is_up(commands: Callable[[str, str], None]) -> None:
    assert slurm.slurm_answers()
    commands("scontrol", "echo 'Slurmctld(primary) at node1 is DOWN'; exit 1")
    assert not slurm.slurm_answers()


def test_a_queue_that_does_not_answer_is_an_operational_error(commands: Callable[[str, str], None]) -> None:
    commands("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(OperationalError, match="Unable to contact slurm controller"):
        slurm.queued_jobs()

"""Submitting to Slurm, with commands on PATH that answer as Slurm's do."""

import os
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm

from launch.machine import Machine
from launch.plan import Plan, make_plan
from launch.profiles.profile import ClusterProfile
from launch.slurm import submission
from launch.slurm.answers import slurm_answers
from launch.states import read_job_state, read_json
from rankfold import atomic
from rankfold.errors import OperationalError, UserError
from rankfold.run_folder import RunFolder

SBATCH = """\
n=$(cat count 2>/dev/null || echo 40); n=$((n + 1)); echo $n > count
env | grep -E '^(SLURM|SBATCH)_' > environment.$n
if [ "$1" = --test-only ]; then
  cat > script.$n
  if grep -q 'partition=no-such' script.$n; then
    echo 'sbatch: error: invalid partition specified: no-such' >&2; exit 1
  fi
  echo "sbatch: Job $n to start at 2026-05-04T03:02:01 using 2 processors on nodes node[1-2] in x" >&2; exit
fi
cp "$1" script.$n
if grep -q 'partition=no-such' "$1"; then
  echo 'sbatch: error: no such partition: 中' >&2; exit 1
fi
echo "Submitted batch job $n"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "bin", monkeypatch)
    for name, script in {"sbatch": SBATCH, "srun": ""}.items():
        (fake.folder / name).write_text(f"#!/bin/sh\n{script}")
        (fake.folder / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def plan(make_recipe: Any) -> Plan:
    recipe = make_recipe(evaluation={"shards": 3, "baseline": False})
    return make_plan(recipe, cluster="slurm", machine=Machine(1), num_train_examples=None)


@pytest.fixture
def run(make_run: Any, plan: Plan) -> RunFolder:
    made: RunFolder = make_run(evaluation={"shards": 3, "baseline": False})
    atomic.write_json(made.plan, plan.to_json())
    return made


SHARDS = [f"evaluate-fine_tuned-{shard}" for shard in range(3)]


@pytest.mark.usefixtures("slurm")
def test_jobs_are_submitted_after_those_they_need_and_shards_as_arrays(
    run: RunFolder, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SBATCH_PARTITION", "surprise")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    profile = ClusterProfile(max_array_size=2)
    ids = submission.submit_plan(run, plan, profile)
    shards = dict(zip(SHARDS, ("43_0", "43_1", "44"), strict=True))
    assert ids == {"prepare": "41", "train": "42", **shards, "merge": "45"} == read_json(run.job_ids)
    assert "--dependency=afterok:41\n" in (tmp_path / "script.42").read_text()
    assert "--array=0-1%2\n" in (tmp_path / "script.43").read_text()
    assert "--dependency=afterok:42\n" in (tmp_path / "script.44").read_text()
    assert "--dependency=afterok:43:44\n" in (tmp_path / "script.45").read_text()
    # A surrounding job must not change what a new one asks for.
    assert (tmp_path / "environment.41").read_text() == "SLURM_CONF=/etc/slurm.conf\n"
    assert os.environ["SBATCH_PARTITION"] == "surprise"
    assert ClusterProfile.from_json(read_json(run.profile)) == profile


@pytest.mark.usefixtures("slurm")
def test_what_is_submitted_again_waits_for_what_comes_with_it_only(
    run: RunFolder, plan: Plan, tmp_path: Path
) -> None:
    submission.submit_plan(run, plan, ClusterProfile())
    ids = submission.submit_plan(run, plan, ClusterProfile(), only=[SHARDS[0], SHARDS[2], "merge"])
    assert ids == {SHARDS[0]: "45_0", SHARDS[2]: "45_1", "merge": "46"}
    assert read_json(run.job_ids) == {"prepare": "41", "train": "42", SHARDS[1]: "43_1", **ids}
    assert f"jobs=({SHARDS[0]} {SHARDS[2]})\n" in (tmp_path / "script.45").read_text()
    assert "--dependency" not in (tmp_path / "script.45").read_text()
    assert "--dependency=afterok:45\n" in (tmp_path / "script.46").read_text()


def test_a_refused_job_takes_back_those_before_it(run: RunFolder, plan: Plan, slurm: FakeSlurm) -> None:
    profile = ClusterProfile(stages={"evaluate": {"partition": "no-such"}})
    with pytest.raises(OperationalError) as caught:
        submission.submit_plan(run, plan, profile)
    refused = "sbatch refused evaluate-fine_tuned-shards; the 2 before it are cancelled: "
    assert caught.value.message == f"{refused}sbatch: error: no such partition: 中"
    assert slurm.calls == ["scancel 41 42"]
    state = read_job_state(run, "prepare")
    assert state is not None
    assert state.state == "cancelled"


def test_what_cannot_be_taken_back_is_named(run: RunFolder, plan: Plan, slurm: FakeSlurm) -> None:
    slurm.answer("scancel", error="scancel: error: Unable to contact slurm controller", exit_code=1)
    with pytest.raises(OperationalError, match=r"could NOT be cancelled .*: scancel 41 42: sbatch: error"):
        submission.submit_plan(run, plan, ClusterProfile(stages={"evaluate": {"partition": "no-such"}}))


def test_ctrl_c_takes_back_what_was_submitted(run: RunFolder, plan: Plan, slurm: FakeSlurm) -> None:
    sbatch = slurm.folder / "sbatch"
    # In the middle of the second submission.
    sbatch.write_text(sbatch.read_text() + f"[ $n = 42 ] && kill -INT {os.getpid()}; exit 0\n")
    with pytest.raises(KeyboardInterrupt):
        submission.submit_plan(run, plan, ClusterProfile())
    assert read_json(run.job_ids) == {"prepare": "41", "train": "42"}
    assert slurm.calls == ["scancel 41 42"]


@pytest.mark.usefixtures("slurm")
def test_sbatch_is_asked_about_every_distinct_request_before_anything_is_submitted(
    run: RunFolder, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    estimates = submission.test_only(plan, ClusterProfile(), run.root.parent)
    names = ["prepare", "train", "evaluate-fine_tuned-shards", "merge"]
    assert [estimate.name for estimate in estimates] == names
    assert str(estimates[0]) == "prepare: would start at 2026-05-04T03:02:01+00:00 on node[1-2]"
    assert "SLURM_JOB_ID" not in (tmp_path / "environment.41").read_text()
    stages = {stage: {"partition": "no-such"} for stage in ("train", "merge")}
    with pytest.raises(UserError) as caught:
        submission.test_only(plan, ClusterProfile(stages=stages), run.root.parent)
    assert caught.value.message == (
        "sbatch would refuse this:\n"
        "  train: sbatch: error: invalid partition specified: no-such\n"
        "    → `sinfo` lists the partitions; name one in the profile (partition).\n"
        "  merge: sbatch: error: invalid partition specified: no-such\n"
        "    → `sinfo` lists the partitions; name one in the profile (partition)."
    )


@pytest.mark.parametrize("name", ["back\\slash", "50%jobs", "two\nlines"])
def test_a_folder_that_slurm_would_misread_is_refused_before_anything_is_written(
    name: str, plan: Plan, tmp_path: Path
) -> None:
    for ask in (
        lambda: submission.test_only(plan, ClusterProfile(), tmp_path / name),
        lambda: submission.submit_plan(RunFolder(tmp_path / name), plan, ClusterProfile()),
    ):
        with pytest.raises(UserError, match="Slurm would misread"):
            ask()
    assert list(tmp_path.iterdir()) == []


def test_slurm_answers_only_where_its_controller_is_up(slurm: FakeSlurm) -> None:
    slurm.answer("scontrol", "Slurmctld(primary) at node1 is UP\n")
    assert slurm_answers()
    slurm.answer("scontrol", "Slurmctld(primary) at node1 is DOWN\n", exit_code=1)
    assert not slurm_answers()

"""The batch scripts that sbatch gets. Golden files: REWRITE_GOLDEN=1 pytest … writes them anew."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import skip_unless_ci

from launch.machine import Machine
from launch.plan import Plan, make_plan
from launch.profiles.profile import ClusterProfile
from launch.slurm.batch import Batch, batch_script, batches
from rankfold.run_folder import RunFolder

GOLDEN = Path(__file__).parent / "golden"
PLAIN = RunFolder(Path("/runs/small-1"))
PROFILE = ClusterProfile(
    partition="a100",
    account="lab's",
    reservation="friday",
    exclusive=True,
    gpu_request="gres",
    gpu_type="a100",
    environment={"NOTE": "it's $HOME in 中文"},
    setup=("module load cuda",),
    container="apptainer exec --nv 'my image.sif'",
    scratch="/scratch/$USER/a b/$SLURM_JOB_ID",
    sbatch_options={"mail-type": "END", "nice": 5, "hold": False, "comment": "back\\slash"},
    stages={"prepare": {"partition": "cpu", "exclusive": False, "container": None}},
)


@pytest.fixture
def plan(make_recipe: Any) -> Plan:
    train = {"nodes": 2, "gpus_per_node": 4, "memory_gb": 64, "time_limit_min": 240}
    recipe = make_recipe(
        evaluation={"shards": 3, "merge_shards": 2, "baseline": False}, resources={"train": train}
    )
    return make_plan(recipe, cluster="slurm", machine=Machine(1), num_train_examples=None)


def batch_of(plan: Plan, name: str, profile: ClusterProfile) -> Batch:
    return next(batch for batch in batches(plan.jobs, profile) if batch.name == name)


@pytest.mark.parametrize(
    ("name", "job", "profile", "run"),
    [
        ("script_single", "prepare", ClusterProfile(), PLAIN),
        ("script_several_nodes", "train", PROFILE, RunFolder(Path("/my runs/100% 中文 'q' \"d\" $HOME/1"))),
        ("script_array", "evaluate-fine_tuned-shards", PROFILE, PLAIN),
    ],
)
def test_a_script_reads_like_its_golden_file_and_shellcheck_has_nothing_to_say(
    name: str, job: str, profile: ClusterProfile, run: RunFolder, plan: Plan, tmp_path: Path
) -> None:
    script = batch_script("small", batch_of(plan, job, profile), profile, run, ["41", "42"])
    text = script.replace(shlex.quote(sys.executable), "PYTHON")
    golden = GOLDEN / f"{name}.sh"
    if os.environ.get("REWRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    if shutil.which("shellcheck") is None:
        skip_unless_ci("shellcheck is not installed")
    (tmp_path / "script.sh").write_text(script)
    # Some of the texts here hold a $ that must not be expanded, which SC2016 wonders about.
    command = ["shellcheck", "--shell=bash", "--exclude=SC2016", str(tmp_path / "script.sh")]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.stdout == ""


def test_shards_are_gathered_into_arrays_no_larger_than_the_cluster_takes(plan: Plan) -> None:
    whole = batches(plan.jobs, ClusterProfile())
    assert [(batch.name, len(batch.jobs)) for batch in whole] == [
        ("prepare", 1),
        ("train", 1),
        ("evaluate-fine_tuned-shards", 3),
        ("merge-shards", 2),
        ("merge", 1),
    ]
    split = batches(plan.jobs, ClusterProfile(max_array_size=2))
    assert [len(batch.jobs) for batch in split] == [1, 1, 2, 1, 2, 1]
    assert [job.name for batch in split for job in batch.jobs] == [job.name for job in plan.jobs]


def test_a_task_of_an_array_has_its_own_id_and_a_lone_shard_the_job_s(plan: Plan) -> None:
    first, rest = batches(plan.jobs, ClusterProfile(max_array_size=2))[2:4]
    assert first.ids("7") == {"evaluate-fine_tuned-0": "7_0", "evaluate-fine_tuned-1": "7_1"}
    assert rest.ids("8") == {"evaluate-fine_tuned-2": "8"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["requeue"]),
        ({"no-requeue": False}, ["requeue"]),
        ({"requeue": False}, []),
        ({"no_requeue": True}, ["no-requeue"]),
    ],
)
def test_a_profile_may_say_that_slurm_must_not_requeue(
    options: dict[str, str | int | bool], words: list[str], plan: Plan, tmp_path: Path
) -> None:
    for profile in (
        ClusterProfile(sbatch_options=options),
        ClusterProfile(stages={"prepare": {"sbatch_options": options}}),
    ):
        batch = batch_of(plan, "prepare", profile)
        script = batch_script("small", batch, profile, RunFolder(tmp_path))
        assert re.findall("^#SBATCH --(.*requeue.*)$", script, re.MULTILINE) == words


@pytest.mark.parametrize(("begins", "status"), [("echo 1", 5), ("true", 0), ("false", 1)])
def test_ranks_run_only_where_an_attempt_began(
    begins: str, status: int, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that had completed prints no number, and ends well."""
    container = tmp_path / "container"
    container.write_text(f'#!/bin/sh\n[ "$4" != begin ] || {begins}\n')
    container.chmod(0o755)
    profile = ClusterProfile(container=str(container))
    script = batch_script("small", batch_of(plan, "prepare", profile), profile, RunFolder(tmp_path))
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 5\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert subprocess.run(["bash", "-c", script], capture_output=True).returncode == status


@pytest.mark.parametrize(("setup", "status"), [("true", 0), ("false", 1), ("failing", 3)])
def test_a_setup_line_that_fails_ends_the_script_and_is_named(
    setup: str, status: int, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = ClusterProfile(setup=("failing() { return 3; }", setup, "echo went on"), container="echo")
    run = RunFolder(tmp_path / "it's 100% 中文 $HOME")
    script = batch_script("small", batch_of(plan, "prepare", profile), profile, run)
    # No Slurm here: srun, and Python in its container, only say what they were called with.
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "srun").write_text('#!/bin/sh\necho srun "$@"\n')
    (folder / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == status
    if status:
        assert f"launch: setup failed: {'return 3' if setup == 'failing' else setup}" in done.stdout
        assert "went on" not in done.stdout
    else:
        assert "went on" in done.stdout
        assert f"{sys.executable} -m launch.attempt end {run.root} prepare 0\n" in done.stdout

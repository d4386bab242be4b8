"""The small job of `launch doctor`, and the probe that it runs on each node."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.doctor.job import probe_script, run_probe, sbatch_command
from launch.profiles.profile import ClusterProfile
from rankfold.errors import OperationalError


def test_two_probes_meet_through_a_folder_and_report_each_other(tmp_path: Path) -> None:
    (tmp_path / "greeting.txt").write_text("hello")
    probes = [
        subprocess.Popen(
            [sys.executable, "-m", "launch.doctor.probe", str(tmp_path), "20"],
            env={**os.environ, "SLURMD_NODENAME": node, "SLURM_NNODES": "2"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for node in ("n1", "n2")
    ]
    printed = [probe.communicate()[0] for probe in probes]
    assert [probe.returncode for probe in probes] == [0, 0]
    written = {node: json.loads((tmp_path / f"{node}.report.json").read_text()) for node in ("n1", "n2")}
    for node, peer, line in zip(("n1", "n2"), ("n2", "n1"), printed, strict=True):
        assert json.loads(line.removeprefix("launch doctor: ")) == written[node]
        assert written[node]["greeting"] == "hello"
        assert written[node]["peers"][peer]["error"] is None
        assert abs(written[node]["peers"][peer]["clock_ahead_s"]) < 5


def test_a_probe_that_does_not_see_the_folder_prints_its_report(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launch.doctor.probe", str(tmp_path / "missing"), "1"]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "No such file" in json.loads(line.removeprefix("launch doctor: "))["folder_error"]


def test_the_probe_s_job_asks_as_the_profile_says() -> None:
    profile = ClusterProfile(
        partition="gpu",
        account="lab",
        gpu_request="gres",
        gpu_type="a100",
        environment={"NAME": "a b"},
        setup=("module load cuda",),
        container="apptainer exec x.sif",
        sbatch_options={"mail_type": "FAIL", "requeue": False},
    )
    command = sbatch_command(profile, Path("/runs 50%/x"), nodes=2, gpus=1)
    assert command[:2] == ["sbatch", "--parsable"]
    assert "--output=/runs 50%%/x/output.txt" in command
    assert {"--partition=gpu", "--account=lab", "--gres=gpu:a100:1", "--mail-type=FAIL"} <= set(command)
    assert not any("requeue" in word for word in command if word != "--no-requeue")
    lines = probe_script(profile, Path("/runs/x")).splitlines()
    assert lines[:5] == [
        "#!/bin/bash",
        "export NAME='a b'",
        "set -o errexit",
        "module load cuda",
        "set +o errexit",
    ]
    assert lines[5].startswith("srun --label --ntasks-per-node=1 apptainer exec x.sif ")


FakeSlurm = Callable[[dict[str, str]], list[list[str]]]


@pytest.fixture
def fake_slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Commands of Slurm that print what they are told to; gives those that were run."""

    def pretend(answers: dict[str, str]) -> list[list[str]]:
        commands: list[list[str]] = []

        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            said = answers.get(command[0], "")
            failed = said.startswith("error: ")
            return subprocess.CompletedProcess(command, int(failed), "" if failed else said, said)

        monkeypatch.setattr("subprocess.run", run)
        monkeypatch.setattr("launch.doctor.job.POLL_S", 0)
        return commands

    return pretend


def test_a_job_that_never_starts_is_cancelled_and_leaves_nothing(
    tmp_path: Path, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.doctor.job.END_S", 0.01)
    commands = fake_slurm({"sbatch": "7;dev\n", "squeue": "PENDING|Priority|\n"})
    runs = tmp_path / "runs"
    brought = run_probe(ClusterProfile(), runs_folder=runs, nodes=2, gpus=0, wait_s=0)
    assert (brought.state, brought.reason, brought.nodes) == ("PENDING", "Priority", ())
    assert ["scancel", "7"] in commands
    assert not runs.exists()


def test_a_job_that_sbatch_refuses_is_told_with_its_words(tmp_path: Path, fake_slurm: FakeSlurm) -> None:
    fake_slurm({"sbatch": "error: Invalid account"})
    brought = run_probe(ClusterProfile(), runs_folder=tmp_path, nodes=2, gpus=0, wait_s=0)
    assert (brought.state, brought.reason) == ("REFUSED", "error: Invalid account")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_probe_cancels_its_job(
    tmp_path: Path, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.doctor.job.END_S", 0.01)
    commands = fake_slurm({"sbatch": "7\n", "squeue": "RUNNING|None|n1\n"})

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("launch.doctor.job._watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_probe(ClusterProfile(), runs_folder=tmp_path, nodes=2, gpus=0, wait_s=60)
    assert ["scancel", "7"] in commands
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OperationalError, match="runs cannot be written"):
        run_probe(ClusterProfile(), runs_folder=tmp_path / "runs", nodes=1, gpus=0, wait_s=0)

"""What `launch doctor` prints, and the profile that it writes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from slurm_sites import site
from unit.launch.doctor_sites import ALPINE, partition

from launch.cli import main
from launch.doctor.findings import Diagnosis, Finding
from launch.doctor.text import diagnosis_lines
from launch.profiles.profile import ClusterProfile, load_profile
from launch.profiles.text import profile_file, profile_lines, write_profile
from rankfold.errors import UserError

DEV = site("22.05")


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def diagnosis(*findings: Finding, where: str = "gpu", memory: float | None = 40.0) -> Diagnosis:
    return Diagnosis(ALPINE, partition(where), findings, memory)


def test_a_diagnosis_reads_as_a_table_with_advice() -> None:
    lines = list(
        diagnosis_lines(
            diagnosis(Finding("nodes", "warning", "one is bad", "Use others."), Finding("GPUs", "ok", "4")),
            color=False,
        )
    )
    assert lines == [
        "partition  state     longest       nodes    CPUs      memory  GPUs",
        "cpu*       up        2 d               3     128      500 GB  –",
        "gpu        up        12 h 30 min  2 of 4      64      488 GB  4 a100, 3 v100",
        "scavenge   up        any               2  64–128  488–500 GB  4 a100",
        "old        inactive  1 h 30 min        0       –           –  –",
        "",
        "! nodes  one is bad",
        "         → Use others.",
        "✓ GPUs   4",
        "",
        "Runs will work here; mind what is marked with !.",
    ]


def test_a_problem_makes_the_diagnosis_one_of_failure() -> None:
    assert diagnosis(Finding("a", "warning", "b")).works
    failed = diagnosis(Finding("a", "problem", "b"))
    assert not failed.works
    assert list(diagnosis_lines(failed, color=False))[-1] == "1 thing will not work."
    assert json.loads(json.dumps(failed.to_json()))["works"] is False


def test_a_written_profile_loads_again_with_what_was_found() -> None:
    profile = ClusterProfile(
        account="lab",
        gpu_type="a100",
        environment={"NCCL_SOCKET_IFNAME": "ib0", "N": "8"},
        setup=("module load cuda/12.6", "export A='b: c'"),
        sbatch_options={"mail-type": "FAIL", "nice": 5, "hold": True},
        stages={"prepare": {"partition": "cpu", "exclusive": True}},
    )
    file = profile_file("mylab", force=False)
    write_profile(file, profile, diagnosis())
    loaded = load_profile("mylab")
    expected = replace(
        profile, name="mylab", partition="gpu", gpu_memory_gb=40.0, max_array_size=ALPINE.max_array_size
    )
    assert loaded == expected


def test_a_written_profile_says_what_was_found_and_suggests_a_cpu_partition() -> None:
    text = "\n".join(profile_lines(ClusterProfile(), diagnosis()))
    assert "#   gpu: 4 nodes, 4 GPUs (a100, v100) a node, 750 minutes" in text
    assert "# Your accounts: lab, students." in text
    assert "#   prepare: {partition: cpu}" in text
    assert yaml.safe_load(text)["partition"] == "gpu"
    assert (
        yaml.safe_load("\n".join(profile_lines(ClusterProfile(), diagnosis(where="cpu"))))["partition"]
        is None
    )


def test_a_profile_is_not_overwritten_without_being_told_to() -> None:
    file = profile_file("mylab", force=False)
    write_profile(file, ClusterProfile(), diagnosis())
    with pytest.raises(UserError, match="is there already"):
        profile_file("mylab", force=False)
    assert profile_file("mylab", force=True) == file
    for name in ("a/b", "../x", "mylab.yaml", ""):
        with pytest.raises(UserError, match="is no name for a profile"):
            profile_file(name, force=False)


def test_without_slurm_the_doctor_says_so_and_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launch.slurm.answers.slurm_answers", lambda: False)
    monkeypatch.setattr("launch.doctor.findings.slurm_answers", lambda: False)
    assert main(["doctor"]) == 2
    assert "launch cluster up" in capsys.readouterr().err


@pytest.fixture
def dev_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.doctor.findings.slurm_answers", lambda: True)
    monkeypatch.setattr("launch.doctor.findings.read_site", lambda _: DEV)


@pytest.mark.usefixtures("dev_slurm")
def test_the_doctor_without_a_probe_writes_a_profile_that_loads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--no-probe", "--partition", "low", "--write", "mylab", "--json"]) == 0
    answered = json.loads(capsys.readouterr().out)
    assert answered["partition"] == "low"
    assert load_profile("mylab").partition == "low"
    assert load_profile(answered["written"]) == load_profile("mylab")


@pytest.mark.usefixtures("dev_slurm")
def test_a_wrong_partition_is_a_mistake_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--no-probe", "--partition", "hihg"]) == 2
    assert "there is no partition hihg; did you mean high?" in capsys.readouterr().err

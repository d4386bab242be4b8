"""What `launch doctor` makes of what a cluster and its nodes say."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from slurm_sites import site

from launch.cli import main
from launch.doctor.cluster import cluster_findings
from launch.doctor.findings import Diagnosis, Finding
from launch.doctor.job import ProbeResult, probe_script, run_probe, sbatch_command
from launch.doctor.nodes import gpu_memory_gb, node_findings
from launch.doctor.text import diagnosis_lines
from launch.profiles.profile import ClusterProfile, load_profile
from launch.profiles.text import profile_file, profile_lines, write_profile
from launch.slurm.site import Partition, Site
from rankfold.errors import OperationalError, UserError

ALPINE = site("24.05")
DEV = site("22.05")
RUNS = Path("/home/me/runs")


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def partition(name: str, of: Site = ALPINE, **changes: Any) -> Partition:
    found = of.partition(name)
    assert found is not None
    return replace(found, **changes)


def told(
    subject: str, profile: ClusterProfile | None = None, of: Site = ALPINE, where: Partition | None = None
) -> Finding:
    """The finding about one subject, the worst first."""
    found = list(cluster_findings(profile or ClusterProfile(), of, where))
    return max((finding for finding in found if finding.subject == subject), key=_severity)


def _severity(finding: Finding) -> int:
    return ("ok", "warning", "problem").index(finding.level)


def test_a_cluster_that_is_as_it_should_be_has_no_problem() -> None:
    found = list(cluster_findings(ClusterProfile(), ALPINE, partition("cpu")))
    assert {finding.level for finding in found} == {"ok"}
    assert told("partition", where=partition("cpu")).message == "cpu, as long as 2 d"
    assert told("arrays", where=partition("cpu")).advice == "max_array_size: 20001 in a profile uses that."


def test_nodes_that_take_no_jobs_are_named_with_their_reason() -> None:
    found = told("nodes", where=partition("gpu"))
    assert found.level == "warning"
    assert found.message == (
        "2 of 4 take no jobs: g03 does not respond, down (Not responding); g04 draining (ECC | slot 3)"
    )
    nowhere = partition("gpu", nodes=partition("gpu").nodes[2:])
    assert told("nodes", where=nowhere).level == "problem"


def test_without_a_default_partition_one_must_be_named() -> None:
    found = told("partition")
    assert found.level == "problem"
    assert "cpu, gpu, scavenge, old" in found.advice


@pytest.mark.parametrize(
    ("profile", "where", "subject", "message"),
    [
        ({}, "old", "partition", "old is INACTIVE"),
        ({}, "old", "nodes", "old has no nodes that you can see"),
        ({"account": "nobody"}, "gpu", "account", "you may not charge nobody"),
        ({"account": "students"}, "gpu", "account", "gpu does not take students"),
        ({"gpu_type": "h100"}, "gpu", "GPUs", "gpu has no h100"),
        ({"max_array_size": 30_000}, "gpu", "arrays", "plans for arrays of 30000, this cluster takes 20001"),
    ],
)
def test_what_will_not_work_is_a_problem(
    profile: dict[str, Any], where: str, subject: str, message: str
) -> None:
    found = told(subject, ClusterProfile(**profile), where=partition(where))
    assert found.level == "problem"
    assert message in found.message
    assert found.advice


def test_several_types_of_gpu_want_one_to_be_named() -> None:
    assert told("GPUs", where=partition("gpu")).level == "warning"
    assert (
        told("GPUs", ClusterProfile(gpu_type="a100"), where=partition("gpu")).message == "up to 4 a100 a node"
    )
    assert told("GPUs", where=partition("cpu")).advice == "Partitions with GPUs: gpu, scavenge."


@pytest.mark.parametrize(
    ("changes", "of", "level", "message"),
    [
        ({}, {}, "ok", "each first gets the signal it asked for, and 120 s to save"),
        ({"grace_time_s": 0}, {}, "ok", "each first gets TERM, and 60 s to save"),
        ({"grace_time_s": 0}, {"kill_wait_s": 5}, "warning", "each first gets TERM, and 5 s to save"),
        ({}, {"warns_before_preemption": False}, "ok", "each first gets TERM, and 120 s to save"),
        ({"preempt_mode": "CANCEL"}, {}, "warning", "cancelled, and not put back"),
        ({"preempt_mode": "GANG,SUSPEND"}, {}, "ok", "are suspended"),
        ({"preempt_mode": "OFF"}, {}, "ok", "are not preempted"),
        ({}, {"preempt_type": "none"}, "ok", "are not preempted"),
        ({}, {"preempt_type": "qos"}, "ok", "depends on the QOS"),
    ],
)
def test_preemption_says_what_happens_and_how_long_there_is_to_save(
    changes: dict[str, Any], of: dict[str, Any], level: str, message: str
) -> None:
    found = told("preemption", of=replace(ALPINE, **of), where=partition("scavenge", **changes))
    assert found.level == level
    assert message in found.message


# What nodes report.


def report(node: str, **changes: Any) -> dict[str, Any]:
    healthy = {
        "node": node,
        "time": 1000.5,
        "python": platform.python_version(),
        "executable": sys.executable,
        "rankfold": metadata.version("rankfold"),
        "missing_packages": [],
        "gpus": [],
        "own_address": f"10.0.0.{node[-1]}",
        "greeting": "hello",
        "peers": {},
    }
    return {**healthy, **changes}


def met(node: str, **changes: Any) -> dict[str, Any]:
    healthy = {"host": node, "address": f"10.0.0.{node[-1]}", "by_address": None, "error": None}
    return {node: {**healthy, "seconds": 0.001, "clock_ahead_s": 0.0, **changes}}


def result(*reports: dict[str, Any], **changes: Any) -> ProbeResult:
    nodes = tuple(each["node"] for each in reports)
    brought = ProbeResult(
        job_id="7",
        nodes=nodes,
        state="COMPLETED",
        reason="None",
        reports={each["node"]: each for each in reports},
        wrote=frozenset(nodes),
        greeting="hello",
        output="",
        submitted=1000.0,
        seen=dict.fromkeys(nodes, 1001.0),
    )
    return replace(brought, **changes)


def found_in(brought: ProbeResult) -> dict[str, Finding]:
    """The worst finding about each subject."""
    found = sorted(node_findings(brought, RUNS), key=_severity)
    return {finding.subject: finding for finding in found}


PAIR = (report("n1", peers=met("n2")), report("n2", peers=met("n1")))


def test_two_healthy_nodes_have_no_finding_but_good_ones() -> None:
    found = found_in(result(*PAIR))
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["network"].message == "n1, n2 reach each other by name, in 1.0 ms at most"
    assert list(found) == ["probe", "shared folder", "Python", "clocks", "network"]


@pytest.mark.parametrize(
    "error", ["its name does not resolve", "it refuses the connection", "no answer within 5 s"]
)
def test_a_node_that_cannot_be_reached_is_named_with_the_reason(error: str) -> None:
    bad = report("n1", peers=met("n2", error=error))
    found = found_in(result(bad, PAIR[1]))["network"]
    assert found.level == "problem"
    assert found.message == f"n1 cannot reach n2 by its name n2: {error}"
    assert "n2" in found.advice
    other_way = report("n1", peers=met("n2", error=error, by_address="10.0.0.2"))
    found = found_in(result(other_way, PAIR[1]))["network"]
    assert found.level == "warning"
    assert "its address 10.0.0.2 works" in found.message


def test_a_node_whose_own_name_is_loopback_to_itself_only_is_told() -> None:
    found = found_in(result(PAIR[0], {**PAIR[1], "own_address": "127.0.1.1"}))["network"]
    assert found.level == "warning"
    assert found.message == "n2 takes its own name for 127.0.1.1, others for 10.0.0.2"
    assert "GLOO_SOCKET_IFNAME" in found.advice


def test_a_folder_that_a_node_does_not_see_is_not_shared() -> None:
    blind = report("n2", folder_error="No such file or directory: /home/me/runs")
    found = found_in(result(PAIR[0], blind, wrote=frozenset({"n1"})))["shared folder"]
    assert found.level == "problem"
    assert found.message == ("/home/me/runs is not shared: n2: No such file or directory: /home/me/runs")
    stale = found_in(result(PAIR[0], {**PAIR[1], "greeting": "old"}))["shared folder"]
    assert stale.level == "problem"


def test_a_node_that_reports_nothing_is_named_with_what_was_printed_about_it() -> None:
    output = f"slurmstepd-n2: error: execve(): {sys.executable}: No such file or directory\n0: fine\n1: bad\n"
    found = found_in(result(PAIR[0], nodes=("n1", "n2"), output=output))["probe"]
    assert found.level == "problem"
    assert found.message.splitlines() == [
        "n2 reported nothing:",
        f"    slurmstepd-n2: error: execve(): {sys.executable}: No such file or directory",
        "    1: bad",
    ]
    assert "must be on a file system that all nodes share" in found.advice


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("execve(): apptainer: No such file or directory", "apptainer is not on PATH there"),
        ("1: ModuleNotFoundError: No module named 'launch'", "This package must be installed"),
        ("module: command not found", ""),
    ],
)
def test_a_job_that_fails_before_any_node_reports_shows_why(output: str, advice: str) -> None:
    found = found_in(result(nodes=("n1",), state="FAILED", output=output))["probe"]
    assert found.level == "problem"
    assert output in found.message
    assert found.advice.startswith(advice)


def test_a_job_whose_output_could_not_be_written_blames_the_folder() -> None:
    found = found_in(result(nodes=("n1",), state="FAILED"))["shared folder"]
    assert found.level == "problem"
    assert "the node does not see /home/me/runs" in found.advice


def test_a_refused_job_and_one_that_waits_too_long_say_so() -> None:
    refused = found_in(result(state="REFUSED", reason="Invalid qos specification"))["probe"]
    assert (refused.level, refused.message) == (
        "problem",
        "sbatch refused the job: Invalid qos specification",
    )
    waits = found_in(result(state="PENDING", reason="Priority"))["probe"]
    assert waits.level == "warning"
    assert waits.message == "the job did not start: other jobs are ahead of it (Priority)"
    never = found_in(result(state="PENDING", reason="PartitionTimeLimit"))["probe"]
    assert never.level == "problem"


def test_nodes_that_did_not_meet_are_not_said_to_reach_each_other() -> None:
    late = found_in(result(report("n1"), PAIR[1]))["network"]
    assert (late.level, late.message) == ("warning", "not tested: n1 to n2")
    blind = report("n2", folder_error="No such file or directory")
    assert "network" not in found_in(result(report("n1"), blind, wrote=frozenset({"n1"})))


@pytest.mark.parametrize(
    ("changes", "level", "message"),
    [
        ({"missing_packages": ["torch"]}, "problem", "n2 does not find torch"),
        ({"rankfold": "0.0.1"}, "problem", "n2 has rankfold 0.0.1"),
        ({"python": "3.9.1"}, "warning", "n2 runs Python 3.9.1"),
    ],
)
def test_another_environment_on_a_node_is_told(changes: dict[str, Any], level: str, message: str) -> None:
    found = found_in(result(PAIR[0], {**PAIR[1], **changes}))["Python"]
    assert found.level == level
    assert message in found.message


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        ((PAIR[0], {**PAIR[1], "time": 900.0}), "n2 is 100 s behind"),
        ((PAIR[0], {**PAIR[1], "time": 1101.0}), "n2 is 100 s ahead"),
        ((report("n1", peers=met("n2", clock_ahead_s=30.0)), PAIR[1]), "n2 is 30 s ahead of n1"),
    ],
)
def test_clocks_that_differ_are_told(reports: tuple[dict[str, Any], ...], message: str) -> None:
    found = found_in(result(*reports))["clocks"]
    assert (found.level, found.message) == ("warning", message)


def test_the_smallest_gpu_that_was_seen_gives_the_memory() -> None:
    gpus = [["A100", 81_920], ["V100", 16_384]]
    assert gpu_memory_gb(result(report("n1", gpus=gpus))) == 16.0
    assert gpu_memory_gb(result(*PAIR)) is None


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


# The job.


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


# What is shown and written.


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

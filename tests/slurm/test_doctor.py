"""`launch doctor` on a real cluster: what is well passes, what is bad is named, nothing is left behind."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, wait_until


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def diagnose(cluster: Cluster, runs: Path, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """What the doctor answers: subject → its findings, and the rest of the answer."""
    answered = cluster.launch("doctor", "--json", *arguments, runs=runs, exit_code=exit_code).stdout
    value: dict[str, Any] = json.loads(answered)
    return value


def found(answered: dict[str, Any], subject: str) -> list[tuple[str, str]]:
    findings = answered["findings"]
    return [(one["level"], one["message"]) for one in findings if one["subject"] == subject]


@contextmanager
def own_hosts(cluster: Cluster, name: str, address: str | None) -> Iterator[None]:
    """Change or forget the address of a name on all nodes; they see this very file, so it is not replaced."""
    hosts = cluster.folder / "etc" / "hosts"
    before = hosts.read_text()
    kept = [line for line in before.splitlines() if name not in line.split()]
    hosts.write_text("\n".join([*kept, *([f"{address} {name}"] if address else [])]) + "\n")
    try:
        yield
    finally:
        hosts.write_text(before)


def test_a_healthy_cluster_works_and_its_profile_plans(
    cluster: Cluster, runs: Path, repository: Path, tmp_path: Path
) -> None:
    home = Cluster(cluster.name, {**cluster.environment, "XDG_CONFIG_HOME": str(tmp_path / "config")})
    answered = diagnose(home, runs, "--partition", "short", "--gpus", "1", "--write", "mylab")
    assert answered["works"]
    assert found(answered, "network")[0][1].startswith("node1, node2 reach each other by name")
    assert {
        level for subject in ("shared folder", "Python", "clocks") for level, _ in found(answered, subject)
    } == {"ok"}
    assert not runs.exists()
    assert cluster.run("squeue", "--noheader").stdout == ""
    recipe = str(repository / "recipes" / "quickstart.yaml")
    plan = home.launch("plan", recipe, "--cluster", "slurm", "--profile", "mylab", runs=runs).stdout
    assert "--partition=short" in plan


def test_a_drained_node_is_named_and_the_others_are_tried(cluster: Cluster, runs: Path) -> None:
    cluster.run("scontrol", "update", "nodename=node2", "state=drain", "reason=bad cable")
    try:
        answered = diagnose(cluster, runs)
    finally:
        cluster.run("scontrol", "update", "nodename=node2", "state=resume")
    assert found(answered, "nodes") == [("warning", "1 of 2 take no jobs: node2 drained (bad cable)")]
    assert found(answered, "probe")[0][1].endswith("ran on node1")


def test_a_node_whose_name_does_not_resolve_is_named(cluster: Cluster, runs: Path) -> None:
    with own_hosts(cluster, "node2", None):
        command = [sys.executable, "-m", "launch", "doctor", "--runs-dir", str(runs), "--json"]
        done = cluster.run(*command, exit_code=None)
    told = [message for _, message in found(json.loads(done.stdout), "network")]
    assert told[0].startswith("node1 cannot reach node2 by its name node2: its name does not resolve")
    assert not any("cannot reach node1" in message for message in told)


def test_a_runs_folder_that_a_node_does_not_see_is_named(cluster: Cluster, runs: Path) -> None:
    runs.mkdir()
    script = f"mount -t tmpfs none {runs} && sleep 1000"
    # A job on node2 hides the folder there, for as long as the node's own mounts last.
    hiding = cluster.sbatch(script, "--nodelist=node2", "--oversubscribe")
    cluster.wait_for_job(hiding, "RUNNING")
    try:
        answered = diagnose(cluster, runs, exit_code=1)
    finally:
        cluster.run("srun", "--nodelist=node2", "--overlap", f"--jobid={hiding}", "umount", str(runs))
    ((level, message),) = found(answered, "shared folder")
    assert level == "problem"
    assert "node2: No such file or directory" in message
    assert "node1: " not in message


def test_a_profile_whose_setup_fails_shows_the_line(cluster: Cluster, runs: Path, tmp_path: Path) -> None:
    profile = tmp_path / "bad.yaml"
    profile.write_text("setup: [module-that-is-not-there load cuda]\n")
    answered = diagnose(cluster, runs, "--profile", str(profile), exit_code=1)
    assert "module-that-is-not-there: command not found" in found(answered, "probe")[0][1]


def test_control_c_cancels_the_probe_and_leaves_nothing(cluster: Cluster, runs: Path) -> None:
    runs.mkdir()
    blocking = cluster.sbatch("sleep 1000", "--nodes=2", "--exclusive")
    cluster.wait_for_job(blocking, "RUNNING")
    command = [sys.executable, "-m", "launch", "doctor", "--partition", "low", "--runs-dir", str(runs)]
    doctor = subprocess.Popen(command, env=cluster.environment, text=True, stderr=subprocess.PIPE)
    wait_until(lambda: "launch-d" in cluster.run("squeue", "--noheader").stdout, bool, 30)
    doctor.send_signal(signal.SIGINT)
    _, complaint = doctor.communicate(timeout=30)
    assert (doctor.returncode, complaint) == (1, "\ninterrupted\n")
    assert list(runs.iterdir()) == []
    assert "launch-d" not in cluster.run("squeue", "--noheader").stdout

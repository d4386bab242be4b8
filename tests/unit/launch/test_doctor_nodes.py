"""What `launch doctor` makes of what nodes report."""

import platform
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from unit.launch.doctor_sites import severity

from launch.doctor.findings import Finding
from launch.doctor.job import ProbeResult
from launch.doctor.nodes import gpu_memory_gb, node_findings

RUNS = Path("/home/me/runs")


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
    found = sorted(node_findings(brought, RUNS), key=severity)
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

"""What the probe's nodes reported, judged: pure."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from launch.doctor.findings import Finding, Level
from launch.doctor.job import ProbeResult
from launch.slurm.queue_reasons import never_starts, reason_words

MAX_SKEW_S = 5.0
"""Beyond this, times in logs of several nodes mislead."""
MAX_LINES = 6
"""Lines of the job's output that a finding shows."""

Reports = dict[str, dict[str, Any]]


def node_findings(result: ProbeResult, folder: Path) -> Iterator[Finding]:
    """Judge what a probe brought; `folder` is the folder of all runs."""
    if result.state == "REFUSED":
        advice = "Correct the profile: sites differ in what they want to be asked."
        yield Finding("probe", "problem", f"sbatch refused the job: {result.reason}", advice)
        return
    if result.state == "PENDING":
        yield _waiting(result.reason)
        return
    if not result.reports:
        yield _silent(result, folder)
        return
    yield Finding("probe", "ok", f"job {result.job_id} ran on {', '.join(result.nodes)}")
    yield from _missing(result)
    yield _folder(result, folder)
    yield _python(result.reports)
    yield _clocks(result)
    if len(result.nodes) > 1:
        yield from _network(result.reports)
    else:
        advice = "It takes two nodes that accept jobs: --nodes 2."
        yield Finding("network", "warning", "not tested: the probe had one node", advice)


def gpu_memory_gb(result: ProbeResult) -> float | None:
    """Memory of the smallest GPU that a node reported, in GB of 1024 MiB; None where none did."""
    sizes = [memory for report in result.reports.values() for _, memory in report["gpus"]]
    return round(min(sizes) / 1024, 1) if sizes else None


def _waiting(reason: str) -> Finding:
    message = f"the job did not start: {reason_words(reason)}"
    if never_starts(reason):
        advice = "Correct the profile, or name another partition."
        return Finding("probe", "problem", message, advice)
    advice = "Nothing is wrong with that if the cluster is busy: --wait SECONDS gives it longer."
    return Finding("probe", "warning", message, advice)


def _silent(result: ProbeResult, folder: Path) -> Finding:
    where = f" on {', '.join(result.nodes)}" if result.nodes else ""
    message = f"job {result.job_id}{where} was {result.state} before any node reported"
    if not result.output:
        advice = (
            f"Slurm could not even write the job's output: the node does not see {folder}. "
            "Put runs on a file system that all nodes share, with --runs-dir."
        )
        return Finding("shared folder", "problem", message, advice)
    return Finding("probe", "problem", f"{message}:\n{_excerpt(result.output)}", _why(result.output))


def _missing(result: ProbeResult) -> Iterator[Finding]:
    for rank, node in enumerate(result.nodes):
        if node in result.reports:
            continue
        # srun puts the number of the task before what it prints; each node has one, in order.
        lines = result.output.splitlines()
        said = "\n".join(line for line in lines if node in line or line.startswith(f"{rank}: "))
        message = f"{node} reported nothing" + (f":\n{_excerpt(said)}" if said else "")
        yield Finding("probe", "problem", message, _why(said) or _leave_out(node))


def _why(output: str) -> str:
    """What the words of Slurm and Python about a node mean."""
    missing = re.search(r"execve\(\): (\S+): No such file", output)
    if missing and missing[1] == sys.executable:
        return f"The Python of this environment, {missing[1]}, must be on a file system that all nodes share."
    if missing:
        return f"{missing[1]} is not on PATH there: correct setup: or container: in the profile."
    if "No module named" in output:
        return "This package must be installed on a file system that all nodes share."
    return ""


def _excerpt(output: str) -> str:
    return "\n".join(f"    {line}" for line in output.strip().splitlines()[-MAX_LINES:])


def _leave_out(*nodes: str) -> str:
    names = ",".join(nodes)
    return f"Tell the administrators; `exclude: {names}` under sbatch_options in a profile leaves it out."


def _folder(result: ProbeResult, folder: Path) -> Finding:
    bad = {
        node: report.get("folder_error") or "what it wrote is not seen here"
        for node, report in result.reports.items()
        if node not in result.wrote or report.get("greeting") != result.greeting
    }
    if bad:
        message = f"{folder} is not shared: " + "; ".join(f"{node}: {why}" for node, why in bad.items())
        advice = "Put runs on a file system that all nodes share: --runs-dir, or $LAUNCH_RUNS_DIR."
        return Finding("shared folder", "problem", message, advice)
    return Finding("shared folder", "ok", f"{folder} is read and written by {', '.join(result.reports)}")


def _python(reports: Reports) -> Finding:
    ours = platform.python_version()
    version = metadata.version("rankfold")
    for node, report in reports.items():
        if report["missing_packages"]:
            message = f"{node} does not find {', '.join(report['missing_packages'])}"
            advice = (
                f"Install them for {report['executable']}, or correct setup: and container: in the profile."
            )
            return Finding("Python", "problem", message, advice)
        if report["rankfold"] != version:
            message = f"{node} has rankfold {report['rankfold']}, here it is {version}"
            return Finding(
                "Python", "problem", message, "Use one environment on a file system that all share."
            )
        if report["python"] != ours:
            message = f"{node} runs Python {report['python']}, here it is {ours}"
            return Finding(
                "Python", "warning", message, "Use the same one: pickles may not be read otherwise."
            )
    return Finding("Python", "ok", f"{ours} with rankfold {version} on {', '.join(reports)}")


def _clocks(result: ProbeResult) -> Finding:
    bad = {}
    for node, report in result.reports.items():
        # The node looked at its clock after the job was submitted, and before its report was seen here.
        behind = result.submitted - report["time"]
        ahead = report["time"] - result.seen.get(node, report["time"])
        if max(behind, ahead) > MAX_SKEW_S:
            bad[node] = f"{node} is {max(behind, ahead):.0f} s {'behind' if behind > ahead else 'ahead'}"
    for node, report in result.reports.items():
        for peer, met in _peers(report).items():
            skew = met.get("clock_ahead_s", 0.0)
            if skew > MAX_SKEW_S and node not in bad:
                bad.setdefault(peer, f"{peer} is {skew:.0f} s ahead of {node}")
    if bad:
        advice = "Times in logs and progress will mislead; tell the administrators (NTP)."
        return Finding("clocks", "warning", "; ".join(bad.values()), advice)
    return Finding("clocks", "ok", f"within {MAX_SKEW_S:g} s of this machine's")


def _network(reports: Reports) -> Iterator[Finding]:
    failures = [
        (node, peer, met)
        for node, report in reports.items()
        for peer, met in _peers(report).items()
        if met["error"]
    ]
    for node, peer, met in failures:
        message = f"{node} cannot reach {peer} by its name {met['host']}: {met['error']}"
        if met["by_address"]:
            message += f"; its address {met['by_address']} works, and `launch` uses that"
        level: Level = "warning" if met["by_address"] else "problem"
        yield Finding("network", level, message, _remedy(met["error"], node, peer))
    yield from _own_names(reports)
    pairs = _pairs(reports)
    untested = [f"{node} to {peer}" for node, peer in pairs if peer not in _peers(reports[node])]
    if untested:
        yield Finding(
            "network", "warning", f"not tested: {', '.join(untested)}", "Run `launch doctor` again."
        )
    elif pairs and not failures:
        slowest = max(_peers(reports[node])[peer]["seconds"] for node, peer in pairs)
        names = ", ".join(dict.fromkeys(node for node, _ in pairs))
        yield Finding(
            "network", "ok", f"{names} reach each other by name, in {slowest * 1000:.1f} ms at most"
        )


def _pairs(reports: Reports) -> list[tuple[str, str]]:
    """Nodes that should have met: those that saw the folder."""
    met = [node for node, report in reports.items() if "folder_error" not in report]
    return [(node, peer) for node in met for peer in met if node != peer]


def _peers(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    peers: dict[str, dict[str, Any]] = report.get("peers", {})
    return peers


def _remedy(error: str, node: str, peer: str) -> str:
    if "resolve" in error or "another machine" in error:
        return f"Ask the administrators to make {peer}'s name known on {node} (DNS or /etc/hosts)."
    return (
        f"A firewall between them closes ports above 1024, or {peer}'s name leads to the wrong network: ask "
        f"the administrators, or leave one out with exclude: {peer} under sbatch_options."
    )


def _own_names(reports: Reports) -> Iterator[Finding]:
    """A node that takes its own name for loopback tells gloo an address that nobody else can use."""
    for node, report in reports.items():
        own = report["own_address"]
        seen = [met["address"] for other in reports.values() if (met := _peers(other).get(node))]
        far = [address for address in seen if address and not address.startswith("127.")]
        if own is None or (own.startswith("127.") and far):
            others = f", others for {far[0]}" if far else ""
            message = f"{node} takes its own name for {own}{others}"
            if own is None:
                message = f"{node} does not know its own name"
            advice = "Set GLOO_SOCKET_IFNAME under environment in the profile if training on CPUs hangs."
            yield Finding("network", "warning", message, advice)

"""The small job by which `launch doctor` looks at nodes: submitted, watched, cleaned up."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.doctor.probe import GREETING, NOBODY_ELSE, REPORT_PREFIX
from launch.profiles.profile import ClusterProfile
from launch.slurm.site import ANSWER_TIMEOUT_S, answer
from launch.slurm.submission import INHERITED
from rankfold.errors import OperationalError

MEET_S = 20.0
"""How long nodes look for each other."""
RUN_S = 90.0
"""How long a job that started may take: modules and containers can be slow to load."""
TIME_LIMIT_MIN = 2
"""Enough for RUN_S, and little enough for a partition for tests."""
END_S = 10.0
"""How long a job that was cancelled may take to end, and one that is done to let go."""
POLL_S = 0.3

ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
)


@dataclass(frozen=True)
class ProbeResult:
    """What came of the job.

    Attributes:
        nodes: Those that Slurm gave; empty if it never started.
        state: Slurm's word for how it is or ended; `REFUSED` if sbatch did not take it.
        reason: Why it waits or was refused.
        reports: What each node reported, by node.
        wrote: Nodes whose report came through the folder.
        greeting: What the nodes should have read there.
        output: What the job printed.
        submitted: When, by the clock here: seconds since 1970.
        seen: When each report had been seen here.
    """

    job_id: str
    nodes: tuple[str, ...]
    state: str
    reason: str
    reports: dict[str, dict[str, Any]]
    wrote: frozenset[str]
    greeting: str
    output: str
    submitted: float
    seen: dict[str, float]


def run_probe(
    profile: ClusterProfile, *, runs_folder: Path, nodes: int, gpus: int, wait_s: float
) -> ProbeResult:
    """Submit the job, wait at most `wait_s` for its start, and leave nothing behind.

    Raises:
        OperationalError: Slurm stops answering, or the folder cannot be written.
    """
    existed = runs_folder.is_dir()
    try:
        runs_folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".doctor-", dir=runs_folder)).absolute()
    except OSError as error:
        raise OperationalError(f"{runs_folder} cannot be written: {error.strerror}") from error
    try:
        return _run(profile.for_stage("train"), folder, nodes=nodes, gpus=gpus, wait_s=wait_s)
    finally:
        # On NFS a file that a node still holds stays for a moment under another name: not worth an error.
        shutil.rmtree(folder, ignore_errors=True)
        if not existed and not any(runs_folder.iterdir()):
            runs_folder.rmdir()


def probe_script(profile: ClusterProfile, folder: Path) -> str:
    """The batch script: the profile's environment and setup, then one task a node."""
    probe = [sys.executable, "-u", "-m", "launch.doctor.probe", str(folder), str(MEET_S)]
    lines = [
        "#!/bin/bash",
        *(f"export {name}={shlex.quote(value)}" for name, value in profile.environment.items()),
        "set -o errexit",
        *profile.setup,
        "set +o errexit",
        " ".join(filter(None, ["srun --label --ntasks-per-node=1", profile.container, shlex.join(probe)])),
    ]
    return "\n".join(lines) + "\n"


def sbatch_command(profile: ClusterProfile, folder: Path, *, nodes: int, gpus: int) -> list[str]:
    """How the job is asked for; the script comes on standard input."""
    options: dict[str, Any] = {
        "job-name": "launch-doctor",
        "nodes": nodes,
        "ntasks-per-node": 1,
        "time": TIME_LIMIT_MIN,
        # In a file's name, % starts a placeholder.
        "output": str(folder / "output.txt").replace("%", "%%"),
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "reservation": profile.reservation,
        **({_gpu_option(profile): _gpu_value(profile, gpus)} if gpus else {}),
        **{name.lstrip("-").replace("_", "-"): value for name, value in profile.sbatch_options.items()},
    }
    words = [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in options.items()
        if value is not None and value is not False
    ]
    return ["sbatch", "--parsable", "--no-requeue", *words]


def _gpu_option(profile: ClusterProfile) -> str:
    return "gres" if profile.gpu_request == "gres" else "gpus-per-node"


def _gpu_value(profile: ClusterProfile, gpus: int) -> str:
    typed = f"{profile.gpu_type}:{gpus}" if profile.gpu_type else str(gpus)
    return f"gpu:{typed}" if profile.gpu_request == "gres" else typed


def _run(profile: ClusterProfile, folder: Path, *, nodes: int, gpus: int, wait_s: float) -> ProbeResult:
    greeting = secrets.token_hex(8)
    (folder / GREETING).write_text(greeting, encoding="utf-8")
    submitted = time.time()
    done = _submit(sbatch_command(profile, folder, nodes=nodes, gpus=gpus), probe_script(profile, folder))
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()).removeprefix("sbatch: error: ")
        return ProbeResult(
            "", (), "REFUSED", reason, {}, frozenset(), greeting, done.stderr.strip(), submitted, {}
        )
    job_id = done.stdout.strip().split(";")[0]
    seen: dict[str, float] = {}
    try:
        state, reason, node_list = _watch(job_id, folder, seen, nodes=nodes, wait_s=wait_s)
    except BaseException:
        _end(job_id, patience_s=0)
        raise
    _end(job_id, patience_s=0 if state == "PENDING" else END_S / 2)
    through_folder = _reports(folder)
    output = _output(folder)
    reports = {**_printed(output), **through_folder}
    reports = {node: reports[node] for node in sorted(reports)}
    return ProbeResult(
        job_id=job_id,
        nodes=_expanded(node_list) or tuple(reports),
        state=state,
        reason=reason,
        reports=reports,
        wrote=frozenset(through_folder),
        greeting=greeting,
        output=output,
        submitted=submitted,
        seen=seen,
    )


def _submit(command: list[str], script: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not INHERITED.match(name)}
    try:
        return subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            timeout=ANSWER_TIMEOUT_S,
            check=False,
            env=clean,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OperationalError(f"sbatch does not answer: {error}") from error


def _watch(
    job_id: str, folder: Path, seen: dict[str, float], *, nodes: int, wait_s: float
) -> tuple[str, str, str]:
    """State, reason and nodes of the job once it has ended, every node reported, or time is up."""
    start = time.monotonic()
    started: float | None = None
    while True:
        for node in _reports(folder):
            seen.setdefault(node, time.time())
        if len(seen) < nodes and _some_are_lost(_output(folder)):
            (folder / NOBODY_ELSE).touch()
        state, reason, node_list = _state(job_id)
        now = time.monotonic()
        if started is None and state != "PENDING":
            started = now
        waited_enough = now - start > wait_s if started is None else now - started > RUN_S
        if state in ENDED or len(seen) >= nodes or waited_enough:
            return state, reason, node_list
        time.sleep(POLL_S)


def _state(job_id: str) -> tuple[str, str, str]:
    try:
        row = answer(["squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T|%r|%N"])
    except OperationalError as error:
        if "Invalid job id" not in error.message:
            raise
        row = ""
    # Slurm forgets a job some time after its end, on some sites at once.
    state, reason, node_list = (row.strip() or "COMPLETED||").splitlines()[0].split("|", 2)
    return state, reason, node_list


def _end(job_id: str, *, patience_s: float) -> None:
    """Cancel the job if it does not end by itself; its files can go when it has ended."""
    start = time.monotonic()
    cancelled = False
    while (waited := time.monotonic() - start) < END_S:
        if not cancelled and waited >= patience_s:
            answer(["scancel", job_id])
            cancelled = True
        if _state(job_id)[0] in ENDED:
            return
        time.sleep(POLL_S)


def _reports(folder: Path) -> dict[str, dict[str, Any]]:
    reports = (json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.report.json"))
    return {report["node"]: report for report in reports}


def _printed(output: str) -> dict[str, dict[str, Any]]:
    """Reports among the lines that the job printed: those of nodes that could not write theirs."""
    lines = (line.partition(REPORT_PREFIX)[2] for line in output.splitlines() if REPORT_PREFIX in line)
    reports = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return {report["node"]: report for report in reports}


def _some_are_lost(output: str) -> bool:
    """Whether a node failed, or does not see the folder: the others need not wait for it."""
    return "srun: error:" in output or any("folder_error" in report for report in _printed(output).values())


def _output(folder: Path) -> str:
    file = folder / "output.txt"
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _expanded(node_list: str) -> tuple[str, ...]:
    return tuple(answer(["scontrol", "show", "hostnames", node_list]).split()) if node_list else ()

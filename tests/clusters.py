"""A real Slurm on this machine, by slurm/devcluster: speaking to it as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from conftest import REPOSITORY

DEVCLUSTER = REPOSITORY / "slurm" / "devcluster"
ENDED = ("completed", "failed", "cancelled")
Answer = TypeVar("Answer")
MakeCluster = Callable[..., "Cluster"]


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up; `environment` is what makes Slurm's commands and launch speak to it."""

    name: str
    environment: dict[str, str]

    @property
    def folder(self) -> Path:
        return Path(self.environment["SLURM_CONF"]).parent.parent

    def run(self, *command: str, exit_code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command against this cluster; another exit code fails with what it printed."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if exit_code is not None:
            assert done.returncode == exit_code, f"{command}\n{done.stdout}{done.stderr}"
        return done

    def launch(self, *arguments: str, runs: Path, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `launch` as a user of this cluster does, offline, with its runs in `runs`."""
        environment = {**self.environment, "LAUNCH_RUNS_DIR": str(runs), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "launch", *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done

    def sbatch(self, script: str, *options: str) -> str:
        """Submit the body of a bash script; return the job's id."""
        command = ["sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={script}"]
        return self.run(*command).stdout.strip()

    def job_state(self, job_id: str) -> str:
        """What squeue says of a job, in Slurm's words; it remembers ended ones for minutes."""
        return self.run(
            "squeue", "--noheader", "--states=all", "--format=%T", "--jobs", job_id
        ).stdout.strip()

    def wait_for_job(self, job_id: str, *states: str, timeout_s: float = 60) -> None:
        """Until a job is in one of these states of Slurm's."""
        wait_until(lambda: self.job_state(job_id), lambda state: state in states, timeout_s)

    def wait_for(self, run: Path, *states: str, timeout_s: float = 120) -> dict[str, Any]:
        """Until `launch status` shows the run in one of these states; return what it shows.

        A run that has ended otherwise fails at once, with its logs.
        """

        def status() -> dict[str, Any]:
            shown = self.launch("status", str(run), "--json", runs=run.parent).stdout
            value: dict[str, Any] = json.loads(shown)
            if value["state"] in ENDED and value["state"] not in states:
                logs = self.launch("logs", str(run), "--lines", "30", runs=run.parent).stdout
                pytest.fail(f"the run is {value['state']}, not {' or '.join(states)}:\n{shown}\n{logs}")
            return value

        # A status costs a second of a core, which the ranks need.
        return wait_until(status, lambda value: value["state"] in states, timeout_s, pause_s=1)

    def let_time_run_out(self, job_id: str, seconds: int = 1) -> None:
        """Move a running job's end up: Slurm looks every 30 s, but need not wait for a whole minute."""
        self.run("scontrol", "update", f"JobId={job_id}", f"EndTime=now+{seconds}")

    def cancel_everything(self) -> None:
        """What one test leaves queued or running must not meet the next."""
        self.run("scancel", "--user=root")
        wait_until(lambda: self.run("squeue", "--noheader").stdout, lambda left: not left, timeout_s=30)
        # A node that a test took down is up again within seconds, not at once.
        states = ("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T")
        wait_until(lambda: set(self.run(*states).stdout.split()), lambda seen: seen == {"idle"}, timeout_s=30)


def wait_until(
    ask: Callable[[], Answer], is_enough: Callable[[Answer], bool], timeout_s: float, *, pause_s: float = 0.2
) -> Answer:
    """Ask until the answer is enough; fail with the last answer after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_enough(answer := ask()):
        assert time.monotonic() < deadline, f"after {timeout_s:g} s it is still: {answer}"
        time.sleep(pause_s)
    return answer


def devcluster(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run slurm/devcluster."""
    return subprocess.run([DEVCLUSTER, *arguments], env=environment, capture_output=True, text=True)


def environment_of(name: str) -> dict[str, str]:
    """This process's, without what a job of another cluster may have left, and with this one's."""
    exported = devcluster("env", name).stdout.removeprefix("export ").strip()
    variable, value = exported.split("=", 1)
    kept = {key: text for key, text in os.environ.items() if not key.startswith(("SLURM", "SBATCH"))}
    return {**kept, variable: value}

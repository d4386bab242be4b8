"""A real Slurm on one machine: `slurm/devcluster`, asked and understood."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rankfold.errors import EXIT_USER, OperationalError, UserError

SCRIPT = Path(__file__).resolve().parents[2] / "slurm" / "devcluster"
DEFAULT_NAME = "dev"
STATES = {0: "up", 1: "up in part", 3: "down"}
"""What an exit code of `devcluster status` means."""
NO_SUCH_CLUSTER, UNAVAILABLE = 3, 69


@dataclass(frozen=True)
class ClusterState:
    """How a cluster is.

    Attributes:
        state: "up", "up in part" or "down".
        slurm_conf: The file that SLURM_CONF must name; None where there is no cluster.
        daemons: Process ids by daemon, None for one that is down.
        shown: What a person is told of it.
        exit_code: 0 up, 1 up in part, 3 down, as of a service.
    """

    name: str
    state: str
    slurm_conf: str | None
    daemons: dict[str, int | None]
    shown: str
    exit_code: int


def start(name: str, options: Sequence[str] = ()) -> None:
    """Start a cluster with options of `devcluster up`; return when its nodes take jobs.

    Raises:
        UserError: It cannot run here: not root, packages are missing; or the options are wrong.
        OperationalError: A daemon does not start.
    """
    _succeed("up", name, *options)


def stop(name: str) -> None:
    """Stop a cluster and remove all that is left of it; one that is down stays so.

    Raises:
        UserError: Only root may do this.
        OperationalError: A process does not end.
    """
    _succeed("down", name)


def read_state(name: str) -> ClusterState:
    """Look at a cluster.

    Raises:
        UserError: The name is not one.
        OperationalError: The script fails.
    """
    done = _devcluster("status", name)
    if done.returncode not in STATES:
        raise _error(done)
    rows = re.findall(r"^  (\w+) +(\d+|down)$", done.stdout, flags=re.MULTILINE)
    return ClusterState(
        name=name,
        state=STATES[done.returncode],
        slurm_conf=environment(name)["SLURM_CONF"] if done.returncode != NO_SUCH_CLUSTER else None,
        daemons={daemon: None if pid == "down" else int(pid) for daemon, pid in rows},
        shown=done.stdout.rstrip(),
        exit_code=done.returncode,
    )


def environment(name: str) -> dict[str, str]:
    """The variables that make Slurm's commands speak to a cluster.

    Raises:
        UserError: There is no such cluster.
    """
    lines = _succeed("env", name).splitlines()
    words = [word for line in lines for word in shlex.split(line.removeprefix("export "))]
    return {variable: value for variable, _, value in (word.partition("=") for word in words)}


def _succeed(command: str, name: str, *options: str) -> str:
    done = _devcluster(command, name, *options)
    if done.returncode != 0:
        raise _error(done)
    return done.stdout


def _devcluster(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not os.access(SCRIPT, os.X_OK):
        raise UserError(
            f"there is no script {SCRIPT}",
            remedy="It comes with the sources, not with the installed package: run this in a checkout.",
        )
    command = [str(SCRIPT), *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            stdout, stderr = process.communicate()
        except KeyboardInterrupt:
            # The terminal has told the script, too: let it take down what it has started.
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _error(done: subprocess.CompletedProcess[str]) -> UserError | OperationalError:
    """What the script said went wrong, what to do about it, and the log it may have shown before."""
    log, _, said = done.stderr.rpartition("devcluster: error: ")
    message, _, remedy = said.strip().partition("\n  → ")
    if done.returncode in (EXIT_USER, NO_SUCH_CLUSTER, UNAVAILABLE):
        return UserError(message, remedy=remedy)
    return OperationalError("\n".join(filter(None, [message, log.strip()])), remedy=remedy)

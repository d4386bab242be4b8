"""Starting the ranks of one job on this machine, through submitit's local executor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from submitit.local.local import LocalExecutor, LocalJob

from launch.job import ATTEMPT
from launch.plan import PlannedJob
from rankfold.run_folder import RunFolder

UNLIMITED_MIN = 60 * 24 * 365
"""The driver keeps the time limit, so that it can say which job ran into it."""


class RankExecutor(LocalExecutor):  # type: ignore[misc]
    """submitit's local executor with `launch.local.controller` in charge of the ranks."""

    process: subprocess.Popen[bytes]

    def __init__(self, run: RunFolder, job: PlannedJob, attempt: int) -> None:
        super().__init__(run.submitit(job.name))
        self.attempt = attempt
        self.exit_codes = run.exit_codes(job.name)
        self.update_parameters(
            tasks_per_node=job.tasks_per_node, timeout_min=UNLIMITED_MIN, stderr_to_stdout=True
        )

    def _submit_command(self, command: str) -> LocalJob[Any]:
        """As submitit's, but with another controller, and in a process group of its own.

        The group is what makes it possible to end every process of a job, loader workers included.
        """
        ranks = self.parameters["tasks_per_node"]
        environment = {
            ATTEMPT: str(self.attempt),
            "SUBMITIT_EXECUTOR": "local",
            "SUBMITIT_LOCAL_NTASKS": str(ranks),
            "SUBMITIT_LOCAL_COMMAND": command,
            "SUBMITIT_LOCAL_TIMEOUT_S": str(60 * UNLIMITED_MIN),
            "SUBMITIT_LOCAL_SIGNAL_DELAY_S": "0",
            "SUBMITIT_LOCAL_NODEID": "0",
            "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
            "SUBMITIT_LOCAL_WITH_SHELL": "",
            "SUBMITIT_STDERR_TO_STDOUT": "1",
        }
        controller = [sys.executable, "-m", "launch.local.controller", str(self.folder), str(self.exit_codes)]
        self.process = subprocess.Popen(
            controller, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, start_new_session=True
        )
        return LocalJob(self.folder, str(self.process.pid), list(range(ranks)), self.process)


def start_ranks(
    run: RunFolder, job: PlannedJob, attempt: int, task: Callable[[], object]
) -> subprocess.Popen[bytes]:
    """Start a job's ranks, each of which calls `task`; return the process that keeps them."""
    executor = RankExecutor(run, job, attempt)
    # submitit's job object would only poll this process; the driver does that itself.
    executor.submit(task)
    return executor.process

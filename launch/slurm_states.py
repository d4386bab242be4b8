"""How a Slurm job is: what its own files say, put right by what squeue says."""

from __future__ import annotations

import re
from dataclasses import replace

from launch.slurm import QueuedJob
from launch.states import FINAL, JobState
from rankfold.run_folder import RunFolder

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "RESIZING", "SUSPENDED")
AT_WORK = ("RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED")
SRUN_ERROR = re.compile(r"^srun: error: (\S+: tasks? .*)$", re.MULTILINE)
"""`srun: error: node2: task 1: Killed`: the first such line names the rank that ended the others."""


def join(
    run: RunFolder, own: JobState, slurm_id: str, queued: QueuedJob | None
) -> tuple[JobState, str | None]:
    """How a submitted job is, and what it waits for.

    Args:
        own: What the job wrote last, read after squeue was asked, so newer.
        queued: What squeue says, None where it does not know the job any more.
    """
    if own.state in FINAL:
        return own, None
    if queued is None:
        if own.state == "running":
            return _failed(run, own, slurm_id, "left Slurm's queue without finishing"), None
        return replace(own, state="cancelled", error="left Slurm's queue without starting"), None
    if queued.state in WAITING:
        return replace(own, state="pending"), queued.reason
    if queued.state in AT_WORK:
        return replace(own, state="running"), None
    if queued.state == "COMPLETED":
        # The file that says so is written before the job ends, but a network file system may lag.
        return replace(own, state="completed"), None
    if queued.state == "CANCELLED":
        return replace(own, state="cancelled"), None
    return _failed(run, own, slurm_id, f"Slurm says {queued.state}"), None


def _failed(run: RunFolder, own: JobState, slurm_id: str, reason: str) -> JobState:
    output = run.submitit(own.job) / f"{slurm_id}_0_log.out"
    found = SRUN_ERROR.search(output.read_text(errors="replace")) if output.is_file() else None
    return replace(own, state="failed", error=f"{reason}; srun: {found[1]}" if found else reason)

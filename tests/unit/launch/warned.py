"""What test_job.py runs as a rank on Slurm: a stage with children that waits until it is asked to stop."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

from launch import job
from launch.job import RankJob
from rankfold.errors import StoppedError
from rankfold.lifeline import Lifeline

USR2_AND_TERM = 1 << 11 | 1 << 14
"""The bits of signals 12 and 15 in the masks of proc(5)."""


def blocked_and_pending(pid: int) -> bool:
    """Whether both signals have reached a process and wait there."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t") for line in lines)
    masks = [int(fields[name], 16) for name in ("SigBlk", "ShdPnd")]
    return all(mask & USR2_AND_TERM == USR2_AND_TERM for mask in masks)


def stage(_: RankJob, lifeline: Lifeline) -> None:
    import torch
    from torch.utils.data import DataLoader

    loader = DataLoader(cast(Any, torch.arange(8)), batch_size=2, num_workers=1)
    batches = iter(loader)
    next(batches)
    worker = cast(Any, batches)._workers[0]
    shell = subprocess.Popen(["sleep", "60"])
    says_ready, hears = map(int, sys.argv[2:])
    os.write(says_ready, b"!")
    os.read(hears, 1)
    while lifeline.stop_reason is None:
        # The watching thread may be a moment later.
        os.sched_yield()
    assert blocked_and_pending(shell.pid)
    assert blocked_and_pending(worker.pid)
    assert next(batches).tolist() == [2, 3]
    shell.kill()
    shell.wait()
    # The loader's iterator stays in a frame of this error, and its worker alive.
    raise StoppedError("stopped at a safe point")


if __name__ == "__main__":
    setattr(job, "run_stage", stage)  # noqa: B010 (a fake)
    os.environ |= {
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": "7",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
    }
    os.environ |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NUM_NODES": "1"}
    os.environ["SLURM_JOB_END_TIME"] = str(int(time.time()) + 30)
    RankJob(sys.argv[1], "train", "train", None, None, 1)()

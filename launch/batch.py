"""The batch script of a job: what the plan and the cluster's profile say, in submitit's words."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch.plan import PlannedJob
from launch.profiles import ClusterProfile

SUBMITIT_MODULE = "submitit.core._submit"


def slurm_parameters(
    recipe_name: str, job: PlannedJob, profile: ClusterProfile, after_ids: Sequence[str] = ()
) -> dict[str, Any]:
    """What submitit's SlurmExecutor is told; `after_ids` are the job ids this one waits for."""
    given = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "cpus_per_task": job.cpus_per_task,
        "mem": f"{job.memory_gb}GB" if job.memory_gb else None,
        "dependency": f"afterok:{':'.join(after_ids)}" if after_ids else None,
        **_gpu_request(job, profile),
    }
    return {
        "job_name": f"{recipe_name}-{job.name}",
        "nodes": job.nodes,
        "ntasks_per_node": job.tasks_per_node,
        "time": job.time_limit_min,
        "stderr_to_stdout": True,
        "setup": _setup(job, profile),
        # A rank that is gone must not leave the others waiting for it until the time limit.
        "srun_args": ["--kill-on-bad-exit=1"],
        "additional_parameters": _additional(profile),
        **{key: value for key, value in given.items() if value is not None},
    }


def batch_script(
    recipe_name: str,
    job: PlannedJob,
    profile: ClusterProfile,
    *,
    folder: Path,
    after_ids: Sequence[str] = (),
) -> str:
    """The text that sbatch gets, written by submitit itself."""
    from submitit.slurm.slurm import _make_sbatch_string

    parameters = slurm_parameters(recipe_name, job, profile, after_ids)
    script: str = _make_sbatch_string(command=rank_command(folder), folder=folder, **parameters)
    return script


def rank_command(folder: Path) -> str:
    """The command that every rank runs; submitit finds its pickle in `folder`."""
    return f"{shlex.quote(sys.executable)} -u -m {SUBMITIT_MODULE} {shlex.quote(str(folder))}"


def _gpu_request(job: PlannedJob, profile: ClusterProfile) -> dict[str, str | int]:
    """GPUs for the node, never per task: isolating them breaks peer access between local ranks."""
    if not job.gpus_per_node:
        return {}
    typed = f"{profile.gpu_type}:{job.gpus_per_node}" if profile.gpu_type else str(job.gpus_per_node)
    if profile.gpu_request == "gres":
        return {"gres": f"gpu:{typed}"}
    return {"gpus_per_node": typed}


def _setup(job: PlannedJob, profile: ClusterProfile) -> list[str]:
    lines = []
    if profile.setup:
        # Without errexit a `module load` that fails is passed over in silence.
        lines += ["set -o errexit", *profile.setup, "set +o errexit"]
    if job.cpus_per_task is not None:
        # Since Slurm 22.05 srun no longer takes --cpus-per-task over from sbatch.
        lines.append(f"export SRUN_CPUS_PER_TASK={job.cpus_per_task}")
    return lines


def _additional(profile: ClusterProfile) -> dict[str, str | int | bool]:
    options = {
        name.lstrip("-").replace("_", "-"): value
        for name, value in profile.sbatch_options.items()
        if value is not False
    }
    # no-requeue: a stage that Slurm restarts by itself would meet its own half-written files.
    return {"kill-on-invalid-dep": "yes", "no-requeue": True, **options}

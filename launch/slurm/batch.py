"""The batch script of a job or an array: what the plan and the cluster's profile say, in submitit's words."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from launch.plan import PlannedJob
from launch.profiles.profile import SLURMS_OWN_MAX_ARRAY_SIZE, ClusterProfile
from rankfold.errors import EXIT_INTERRUPTED
from rankfold.run_folder import RunFolder

SUBMITIT_MODULE = "submitit.core._submit"
ATTEMPT_MODULE = "launch.attempt"
SETUP_FAILED = "launch: setup failed: "
"""Begins the line in the batch output that says which line of the setup failed."""


@dataclass(frozen=True)
class Batch:
    """What one sbatch submits: a job by itself, or shards of one array, in the order of their task ids."""

    jobs: tuple[PlannedJob, ...]

    @property
    def first(self) -> PlannedJob:
        """The job that speaks for all: they differ in their shard only."""
        return self.jobs[0]

    @property
    def name(self) -> str:
        return self.first.array or self.first.name

    @property
    def is_array(self) -> bool:
        return len(self.jobs) > 1

    def ids(self, slurm_id: str) -> dict[str, str]:
        """Slurm's id of every job, given the one that sbatch answered."""
        if not self.is_array:
            return {self.first.name: slurm_id}
        return {job.name: f"{slurm_id}_{task}" for task, job in enumerate(self.jobs)}


def batches(jobs: Iterable[PlannedJob], profile: ClusterProfile) -> list[Batch]:
    """Gather the shards of each array, as many in a batch as the cluster takes; the order stays."""
    gathered = []
    for array, group in groupby(jobs, key=lambda job: job.array or job.name):
        members = tuple(group)
        size = profile.for_stage(members[0].stage).max_array_size or SLURMS_OWN_MAX_ARRAY_SIZE
        step = size if members[0].array == array else 1
        gathered += [Batch(members[start : start + step]) for start in range(0, len(members), step)]
    return gathered


def slurm_parameters(
    recipe_name: str, batch: Batch, profile: ClusterProfile, run: RunFolder, after_ids: Sequence[str] = ()
) -> dict[str, Any]:
    """What submitit's SlurmExecutor is told; `after_ids` are the job ids this one waits for."""
    job, profile = batch.first, profile.for_stage(batch.first.stage)
    outputs = _escaped_outputs(run.submitit(batch.name), is_array=batch.is_array)
    text = {
        "job_name": f"{recipe_name}-{batch.name}",
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "mem": f"{job.memory_gb}GB" if job.memory_gb else None,
        "dependency": f"afterok:{':'.join(after_ids)}" if after_ids else None,
        **_gpu_request(job, profile),
    }
    return {
        **{key: _sbatch_value(value) for key, value in text.items() if value is not None},
        **({} if job.cpus_per_task is None else {"cpus_per_task": job.cpus_per_task}),
        **({"exclusive": True} if profile.exclusive else {}),
        "nodes": job.nodes,
        "ntasks_per_node": job.tasks_per_node,
        "time": job.time_limit_min,
        "signal_delay_s": profile.warning_s(job.time_limit_min),
        # submitit's own mark in the accounting, which a site that checks such keys would refuse.
        "wckey": None,
        "array_parallelism": len(batch.jobs),
        "stderr_to_stdout": True,
        "setup": _setup(batch, profile, run),
        "teardown": _teardown(batch, profile, run),
        # A rank that is gone must not leave the others waiting for it until the time limit.
        "srun_args": ["--kill-on-bad-exit=1", *([f"--output={outputs[1]}"] if outputs else [])],
        "additional_parameters": {**_additional(profile), **({"output": outputs[0]} if outputs else {})},
    }


def batch_script(
    recipe_name: str, batch: Batch, profile: ClusterProfile, run: RunFolder, after_ids: Sequence[str] = ()
) -> str:
    """The text that sbatch gets, written by submitit itself."""
    from submitit.slurm.slurm import _make_sbatch_string

    folder = run.submitit(batch.name)
    script: str = _make_sbatch_string(
        command=rank_command(folder, python_command(profile.for_stage(batch.first.stage))),
        folder=folder,
        map_count=len(batch.jobs) if batch.is_array else None,
        **slurm_parameters(recipe_name, batch, profile, run, after_ids),
    )
    return script


def python_command(profile: ClusterProfile) -> str:
    """How Python is called on the nodes: this one, in the profile's container where it names one."""
    python = shlex.quote(sys.executable)
    return f"{profile.container} {python}" if profile.container else python


def rank_command(folder: Path, python: str) -> str:
    """The command that every rank runs; submitit finds its pickle in `folder`."""
    return f"{python} -u -m {SUBMITIT_MODULE} {shlex.quote(str(folder))}"


def _gpu_request(job: PlannedJob, profile: ClusterProfile) -> dict[str, str]:
    """GPUs for the node, never per task: isolating them breaks peer access between local ranks."""
    if not job.gpus_per_node:
        return {}
    typed = f"{profile.gpu_type}:{job.gpus_per_node}" if profile.gpu_type else str(job.gpus_per_node)
    if profile.gpu_request == "gres":
        return {"gres": f"gpu:{typed}"}
    return {"gpus_per_node": typed}


def _setup(batch: Batch, profile: ClusterProfile, run: RunFolder) -> list[str]:
    """Shell lines before the ranks; a line of the profile that fails ends the job and says so."""
    profile_lines = [
        *(f"export {name}={shlex.quote(value)}" for name, value in profile.environment.items()),
        *profile.setup,
        *_scratch(profile, batch.first.nodes),
    ]
    failed = f'echo "{SETUP_FAILED}$BASH_COMMAND (exit status $?)"'
    guarded = [f"trap '{failed}' ERR", "set -o errexit -o errtrace", *profile_lines]
    guarded += ["set +o errexit +o errtrace", "trap - ERR"]
    cpus = batch.first.cpus_per_task
    return [
        f"jobs=({' '.join(job.name for job in batch.jobs)})",
        "job=${jobs[${SLURM_ARRAY_TASK_ID:-0}]}",
        *(guarded if profile_lines else []),
        # Since Slurm 22.05 srun no longer takes --cpus-per-task over from sbatch.
        *([] if cpus is None else [f"export SRUN_CPUS_PER_TASK={cpus}"]),
        # A folder called launch or rankfold where the user stands must not take the package's place.
        "export PYTHONSAFEPATH=1",
        # Slurm sends TERM to this script too, which still has to write down how the attempt ended.
        "trap : TERM",
        f'LAUNCH_ATTEMPT=$({_attempt("begin", profile, run)} "$job") || exit',
        # Without a number it had completed before Slurm queued it once more; what waits for it may start.
        '[ -n "$LAUNCH_ATTEMPT" ] || exit 0',
        "export LAUNCH_ATTEMPT",
    ]


def _teardown(batch: Batch, profile: ClusterProfile, run: RunFolder) -> list[str]:
    # The plain id of one task of an array is the id of the whole array, which would all be requeued.
    slurm_id = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if batch.is_array else "$SLURM_JOB_ID"
    return [
        "status=$?",
        # From here on nothing that is started may die of it either.
        "trap '' TERM",
        f'{_attempt("end", profile, run)} "$job" "$status"',
        f"if [ $? -eq {EXIT_INTERRUPTED} ]; then",
        f'  scontrol requeue "{slurm_id}" || {_attempt("refused", profile, run)} "$job"',
        "fi",
        'exit "$status"',
        "",
    ]


def _attempt(command: str, profile: ClusterProfile, run: RunFolder) -> str:
    return f"{python_command(profile)} -m {ATTEMPT_MODULE} {command} {shlex.quote(str(run.root))}"


def _scratch(profile: ClusterProfile, nodes: int) -> list[str]:
    """Lines that make the profile's folder TMPDIR on every node; variables in its name are expanded there."""
    if not profile.scratch:
        return []
    name = re.sub(r'([\\"`])', r"\\\1", profile.scratch)
    everywhere = f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 " if nodes > 1 else ""
    return [f'export TMPDIR="{name}"', f'{everywhere}mkdir -p "$TMPDIR"']


def _additional(profile: ClusterProfile) -> dict[str, str | int | bool]:
    told = {
        name.lstrip("-").replace("_", "-"): _sbatch_value(value)
        for name, value in profile.sbatch_options.items()
    }
    # Some sites refuse jobs that may be requeued.
    requeue = {} if told.get("no-requeue", False) is not False else {"requeue": True}
    reservation = {} if profile.reservation is None else {"reservation": _sbatch_value(profile.reservation)}
    options = {"kill-on-invalid-dep": "yes", **requeue, **reservation, **told}
    return {name: value for name, value in options.items() if value is not False}


def _escaped_outputs(folder: Path, *, is_array: bool) -> tuple[str, str] | None:
    """`--output` of sbatch and of srun where submitit's would be misread: a % in a path begins a symbol."""
    if "%" not in str(folder):
        return None
    place = f"{str(folder).replace('%', '%%')}/{'%A_%a' if is_array else '%j'}"
    return f"{place}_0_log.out", f"{place}_%t_log.out"


def _sbatch_value(value: str | int | bool) -> str | int | bool:
    """A value for an #SBATCH line, where a backslash escapes, also between quotes."""
    return value.replace("\\", "\\\\") if isinstance(value, str) else value

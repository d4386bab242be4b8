"""A profile as a file, each line with what it means and what was found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launch.doctor.findings import Diagnosis
from launch.profiles.profile import ClusterProfile, user_folder
from launch.slurm.site import Partition, Site
from rankfold import atomic
from rankfold.errors import UserError


def profile_file(name: str, *, force: bool) -> Path:
    """Where `--write NAME` writes.

    Raises:
        UserError: The name is not one, or the file is there and may not be overwritten.
    """
    if not re.fullmatch(r"\w[\w.-]*", name) or name.endswith((".yaml", ".yml")):
        message = f"{name!r} is no name for a profile: letters, digits, _, - and . only, without .yaml"
        raise UserError(message, where="--write")
    file = user_folder() / f"{name}.yaml"
    if file.exists() and not force:
        raise UserError(f"{file} is there already", where="--write", remedy="Add --force to overwrite it.")
    return file


def write_profile(file: Path, profile: ClusterProfile, diagnosis: Diagnosis) -> None:
    """Write the profile that was tried, with what was found put in.

    Raises:
        UserError: The folder cannot be written.
    """
    try:
        atomic.write_text(file, "\n".join(profile_lines(profile, diagnosis)) + "\n")
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}", where="--write") from error


def profile_lines(profile: ClusterProfile, diagnosis: Diagnosis) -> Iterator[str]:
    """The lines of the file: what the profile says, and where it says nothing, what was found."""
    site, partition = diagnosis.site, diagnosis.partition
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    yield f"# Cluster {site.cluster}, Slurm {site.version}; written by `launch doctor` on {today}."
    yield "# Use it with --profile, or name it default.yaml. docs/profiles.md says more about every key."
    yield from _where(profile, site, partition)
    yield from _gpus(profile, diagnosis)
    yield ""
    yield "# MaxArraySize of this cluster: shards beyond it go into several arrays."
    yield _line("max_array_size", profile.max_array_size or site.max_array_size or None)
    yield "# Seconds before the time limit at which ranks are told to save and stop."
    yield _line("signal_delay_s", profile.signal_delay_s)
    yield ""
    yield "# Variables for every job; never a secret: jobs inherit those from the shell you submit from."
    yield from _block("environment", profile.environment)
    yield "# Shell lines that run on the first node before the ranks start, such as: module load cuda/12.6"
    yield from _block("setup", profile.setup)
    yield "# Command put before the Python of the ranks, such as: apptainer exec --nv /images/rankfold.sif"
    yield _line("container", profile.container)
    yield "# Folder on each node for temporary files, such as /scratch/$SLURM_JOB_ID. Empty: the node's own."
    yield _line("scratch", profile.scratch)
    yield ""
    yield "# Further options of sbatch by their long names, such as mail-type: FAIL."
    yield from _block("sbatch_options", profile.sbatch_options)
    yield from _stages(profile, site, partition)


def _where(profile: ClusterProfile, site: Site, partition: Partition | None) -> Iterator[str]:
    yield ""
    yield "# Where jobs go. Empty: what Slurm gives without being asked."
    for other in site.partitions:
        yield f"#   {_described(other)}"
    name = partition.name if partition and not partition.is_default else None
    yield _line("partition", profile.partition or name)
    if site.accounts:
        yield f"# Your accounts: {', '.join(site.accounts)}."
    yield _line("account", profile.account)
    yield _line("qos", profile.qos)
    if partition and partition.allow_qos:
        yield f"#   {partition.name} takes the QOS {', '.join(partition.allow_qos)}"
    yield _line("constraint", profile.constraint)
    yield _line("reservation", profile.reservation)
    yield "# true: no other job on the same nodes."
    yield _line("exclusive", profile.exclusive)


def _described(partition: Partition) -> str:
    limit = f"{partition.max_time_min} minutes" if partition.max_time_min else "no time limit"
    gpus = max((node.num_gpus for node in partition.nodes), default=0)
    kinds = f" ({', '.join(partition.gpu_types)})" if partition.gpu_types else ""
    has = f"{gpus} GPUs{kinds} a node" if gpus else "no GPUs"
    default = " (default)" if partition.is_default else ""
    return f"{partition.name}{default}: {len(partition.nodes)} nodes, {has}, {limit}"


def _gpus(profile: ClusterProfile, diagnosis: Diagnosis) -> Iterator[str]:
    types = diagnosis.partition.gpu_types if diagnosis.partition else ()
    yield ""
    yield "# How GPUs are asked for. gpus-per-node: --gpus-per-node=4; gres: --gres=gpu:4, for older sites."
    yield _line("gpu_request", profile.gpu_request)
    found = f"; found: {', '.join(types)}" if types else ""
    yield f"# The type of GPU to ask for, where there are several{found}."
    yield _line("gpu_type", profile.gpu_type)
    yield "# Memory of one GPU in GB, for the estimate of `launch plan`."
    yield _line("gpu_memory_gb", profile.gpu_memory_gb or diagnosis.gpu_memory_gb)


def _stages(profile: ClusterProfile, site: Site, partition: Partition | None) -> Iterator[str]:
    yield "# What single stages (prepare, train, evaluate, merge) do differently."
    without = [other for other in site.partitions if other.state == "UP" and not _has_gpus(other)]
    if not profile.stages and without and partition and _has_gpus(partition):
        yield "# Two stages need no GPU; to send them elsewhere, write instead of {}:"
        yield f"#   prepare: {{partition: {without[0].name}}}"
        yield f"#   merge: {{partition: {without[0].name}}}"
    yield from _block("stages", profile.stages)


def _has_gpus(partition: Partition) -> bool:
    return any(node.num_gpus for node in partition.nodes)


def _line(key: str, value: Any) -> str:
    return f"{key}:" if value is None else f"{key}: {_scalar(value)}"


def _block(key: str, value: Any) -> Iterator[str]:
    """A mapping or list, a line for each part; JSON is YAML for everything inside."""
    if not value:
        yield f"{key}: {'[]' if isinstance(value, tuple) else '{}'}"
        return
    yield f"{key}:"
    if isinstance(value, tuple):
        yield from (f"  - {_scalar(part)}" for part in value)
    else:
        yield from (f"  {_scalar(name)}: {_scalar(part)}" for name, part in value.items())


def _scalar(value: Any) -> str:
    """Plain where a plain word is the same in every YAML, JSON where not."""
    if isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", value) and value not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})

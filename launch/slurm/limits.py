"""What a cluster would never run: the jobs of a plan against the limits of their partitions.

Most sites let sbatch accept such a job and leave it waiting for ever (EnforcePartLimits=NO).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from launch.plan import STAGES, Plan, PlannedJob
from launch.preflight import Problem
from launch.profiles.profile import SLURMS_OWN_MAX_ARRAY_SIZE, ClusterProfile
from launch.slurm.site import Node, Partition, Site

MIB_PER_GB = 1024
"""Slurm counts in powers of two: `--mem=1G` is 1024 MiB."""


def limit_problems(plan: Plan, profile: ClusterProfile, site: Site) -> Iterator[Problem]:
    """Every reason why the cluster cannot run a plan, once for each stage that it stops."""
    yield from _size_problems(plan, profile, site)
    yield from _account_problems(profile, site)
    for stage in STAGES:
        # All jobs of a stage ask for the same.
        job = next((job for job in plan.jobs if job.stage == stage), None)
        if job is not None:
            yield from _stage_problems(job, profile, site)


def _size_problems(plan: Plan, profile: ClusterProfile, site: Site) -> Iterator[Problem]:
    allowed = profile.max_array_size or SLURMS_OWN_MAX_ARRAY_SIZE
    arrays = [job.array for job in plan.jobs if job.array]
    largest = max((arrays.count(name) for name in set(arrays)), default=0)
    size = min(largest, allowed)
    # A shard by itself is submitted as a job, not as an array of one.
    if size > max(1, site.max_array_size):
        message = f"arrays of up to {allowed} jobs are planned, this cluster takes {site.max_array_size}"
        remedy = f"Set max_array_size: {site.max_array_size} in the profile; larger arrays are then split."
        if site.max_array_size == 0:
            remedy = "Set evaluation.shards and evaluation.merge_shards to 1."
        yield f"profile {profile.name}: max_array_size", message, remedy
    if site.max_job_count and len(plan.jobs) > site.max_job_count:
        message = f"the run has {len(plan.jobs)} jobs, this cluster takes {site.max_job_count} of all users"
        yield "evaluation.shards", message, "Set fewer shards."


def _account_problems(profile: ClusterProfile, site: Site) -> Iterator[Problem]:
    if not site.accounts or "associations" not in site.enforces:
        return
    keys = {"account": profile.account}
    keys |= {f"stages.{stage}.account": over.get("account") for stage, over in profile.stages.items()}
    for key, account in keys.items():
        if account is not None and account.lower() not in {name.lower() for name in site.accounts}:
            message = f"you may not charge the account {account}{_near(account, site.accounts)}"
            yield f"profile {profile.name}: {key}", message, f"Yours are: {', '.join(site.accounts)}."


def _stage_problems(job: PlannedJob, profile: ClusterProfile, site: Site) -> Iterator[Problem]:
    asked = profile.for_stage(job.stage)
    overridden = profile.stages.get(job.stage, {})
    where = f"profile {profile.name}: {f'stages.{job.stage}.' if 'partition' in overridden else ''}partition"
    if asked.partition is None and site.default_partition is None:
        message = f"{job.stage} names no partition, and this cluster has no default"
        yield where, message, f"Name one in the profile: {_names(site)}."
        return
    default = site.default_partition
    names = asked.partition.split(",") if asked.partition else [default.name if default else ""]
    found = [site.partition(name) for name in names]
    for name, partition in zip(names, found, strict=True):
        if partition is None:
            near = _near(name, [partition.name for partition in site.partitions])
            message = f"there is no partition {name} for {job.stage}{near}"
            yield where, message, f"Name one of: {_names(site)}."
    known = [partition for partition in found if partition is not None]
    by_partition = [list(_partition_problems(job, asked, partition, site)) for partition in known]
    # Of several partitions, Slurm takes the first in which the job can run.
    if len(known) == len(found) and all(by_partition):
        yield from by_partition[0]


def _partition_problems(
    job: PlannedJob, profile: ClusterProfile, partition: Partition, site: Site
) -> Iterator[Problem]:
    yield from _admission_problems(job, profile, partition, site)
    yield from _limit_problems(job, partition, site)
    yield from _node_problems(job, profile, partition)


def _admission_problems(
    job: PlannedJob, profile: ClusterProfile, partition: Partition, site: Site
) -> Iterator[Problem]:
    """Whether the partition takes jobs at all, and this account's and QOS's."""
    where = f"profile {profile.name}: "
    if partition.state != "UP":
        message = f"{job.stage} would go to {partition.name}, which is {partition.state} and starts no job"
        others = [other.name for other in site.partitions if other.state == "UP"]
        remedy = f"Name another: {', '.join(others)}." if others else "Ask the administrators."
        yield f"{where}partition", message, remedy
    for key, value, allowed, denied in (
        ("account", profile.account, partition.allow_accounts, partition.deny_accounts),
        ("qos", profile.qos, partition.allow_qos, partition.deny_qos),
    ):
        if value is not None and ((allowed and value not in allowed) or value in denied):
            message = f"the partition {partition.name} does not take {key} {value} for {job.stage}"
            wanted = f"it takes {', '.join(allowed)}" if allowed else f"it refuses {', '.join(denied)}"
            yield f"{where}{key}", message, f"Name another {key} or partition: {wanted}."


def _limit_problems(job: PlannedJob, partition: Partition, site: Site) -> Iterator[Problem]:
    field = f"resources.{job.stage}"
    most = partition.max_time_min
    if most is not None and job.time_limit_min > most:
        message = f"{job.time_limit_min} minutes are asked for, the partition {partition.name} gives {most}"
        yield f"{field}.time_limit_min", message, _shorten(job, most, site)
    if partition.max_nodes is not None and job.nodes > partition.max_nodes:
        message = f"{job.nodes} nodes are asked for, a job in {partition.name} gets {partition.max_nodes}"
        yield f"{field}.nodes", message, f"Set {field}.nodes to {partition.max_nodes} or less."
    if job.nodes < partition.min_nodes:
        message = f"{job.nodes} nodes are asked for, jobs in {partition.name} have at least "
        remedy = "Name another partition for this stage, under stages: in the profile."
        yield f"{field}.nodes", f"{message}{partition.min_nodes}", remedy


def _shorten(job: PlannedJob, most: int, site: Site) -> str:
    longer = [
        partition.name
        for partition in site.partitions
        if partition.max_time_min is None or partition.max_time_min >= job.time_limit_min
    ]
    other = f", or name a partition that gives more: {', '.join(longer)}" if longer else ""
    goes_on = "; training that runs out of time goes on where it was" if job.stage == "train" else ""
    return f"Set resources.{job.stage}.time_limit_min to {most} or less{goes_on}{other}."


def _node_problems(job: PlannedJob, profile: ClusterProfile, partition: Partition) -> Iterator[Problem]:
    """What the nodes do not have: too few of them, or too little in each."""
    nodes = partition.nodes
    if not nodes:
        return
    field = f"resources.{job.stage}"
    if job.nodes > len(nodes):
        message = f"{job.nodes} nodes are asked for, the partition {partition.name} has {len(nodes)}"
        yield f"{field}.nodes", message, f"Set {field}.nodes to {len(nodes)} or less."
        return
    lacking = list(_lacks(job, profile, partition))
    yield from lacking
    fitting = [node for node in nodes if _fits(node, job, profile)]
    if not lacking and len(fitting) < job.nodes:
        message = (
            f"{job.nodes} nodes with {_wish(job, profile)} each are asked for, {len(fitting)} of the "
            f"{len(nodes)} in {partition.name} have that"
        )
        yield f"{field}.nodes", message, "Ask for fewer nodes, or for less on each."


def _lacks(job: PlannedJob, profile: ClusterProfile, partition: Partition) -> Iterator[Problem]:
    """What not even the best node of a partition has."""
    field, name = f"resources.{job.stage}", partition.name
    kind = profile.gpu_type
    if job.gpus_per_node and kind and kind not in partition.gpu_types:
        message = f"the partition {name} has no GPU {kind}{_near(kind, partition.gpu_types)}"
        remedy = f"Name one of: {', '.join(partition.gpu_types)}." if partition.gpu_types else "Leave it out."
        yield f"profile {profile.name}: gpu_type", message, remedy
    elif job.gpus_per_node > (most := max(_num_gpus(node, profile) for node in partition.nodes)):
        message = f"{job.gpus_per_node} GPUs on each node are asked for, nodes of {name} have at most {most}"
        remedy = f"Set {field}.gpus_per_node to {most} or less, or name another partition."
        yield f"{field}.gpus_per_node", message, remedy
    most = _least([max(node.cpus for node in partition.nodes), partition.max_cpus_per_node])
    if _cpus(job) > most:
        key = "cpus_per_gpu" if job.gpus_per_node else "cpus_per_task"
        message = (
            f"{job.tasks_per_node} ranks with {job.cpus_per_task} cores each make {_cpus(job)} cores on a "
            f"node, nodes of {name} give at most {most}"
        )
        remedy = f"Set {field}.{key} to {max(1, most // job.tasks_per_node)} or less."
        yield f"{field}.{key}", message, remedy
    most = _least([max(node.memory_mib for node in partition.nodes), partition.max_memory_per_node_mib])
    if _memory_mib(job) > most:
        message = f"{job.memory_gb} GB on each node are asked for, nodes of {name} give at most "
        remedy = f"Set {field}.memory_gb to {most // MIB_PER_GB} or less, or leave it out."
        yield f"{field}.memory_gb", f"{message}{most // MIB_PER_GB}", remedy


def _fits(node: Node, job: PlannedJob, profile: ClusterProfile) -> bool:
    return (
        _num_gpus(node, profile) >= job.gpus_per_node
        and node.cpus >= _cpus(job)
        and node.memory_mib >= _memory_mib(job)
    )


def _num_gpus(node: Node, profile: ClusterProfile) -> int:
    return sum(number for kind, number in node.gpus if profile.gpu_type in (None, kind))


def _cpus(job: PlannedJob) -> int:
    return job.tasks_per_node * (job.cpus_per_task or 1)


def _memory_mib(job: PlannedJob) -> int:
    return (job.memory_gb or 0) * MIB_PER_GB


def _wish(job: PlannedJob, profile: ClusterProfile) -> str:
    gpus = f"{job.gpus_per_node} {profile.gpu_type or ''} GPUs".replace("  ", " ")
    memory = f"{job.memory_gb} GB"
    return ", ".join([*([gpus] if job.gpus_per_node else []), f"{_cpus(job)} cores"]) + (
        f" and {memory}" if job.memory_gb else ""
    )


def _least(limits: Iterable[int | None]) -> int:
    return min(limit for limit in limits if limit is not None)


def _near(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _names(site: Site) -> str:
    return ", ".join(partition.name for partition in site.partitions)

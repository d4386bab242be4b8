"""What the cluster says of itself, judged: pure."""

from __future__ import annotations

from collections.abc import Iterator

from launch.doctor.findings import Finding
from launch.profiles.profile import SLURMS_OWN_MAX_ARRAY_SIZE, ClusterProfile
from launch.slurm.site import Node, Partition, Site

SHORT_WARNING_S = 30
"""Less than this is too little to save a checkpoint of a language model."""
MAX_NAMED = 8
"""More bad nodes than this are counted."""


def cluster_findings(profile: ClusterProfile, site: Site, partition: Partition | None) -> Iterator[Finding]:
    """Judge the cluster for a profile whose training goes to `partition`."""
    yield Finding("Slurm", "ok", f"{site.version}, cluster {site.cluster}")
    yield _accounting(site)
    yield _arrays(profile, site)
    if partition is None:
        names = ", ".join(partition.name for partition in site.partitions)
        advice = f"Name one with --partition, or as partition: in a profile: {names}."
        yield Finding("partition", "problem", "none is named, and this cluster has no default", advice)
        return
    yield _state(partition)
    yield from _accounts(profile, site, partition)
    yield _nodes(partition)
    yield from _gpus(profile, site, partition)
    yield _preemption(site, partition)


def _accounting(site: Site) -> Finding:
    if site.has_accounting:
        return Finding("accounting", "ok", "on: how old jobs ended can be asked from sacct")
    advice = "Nothing to do: states come from squeue and from the run's own files."
    return Finding("accounting", "ok", "off: sacct has nothing to answer from", advice)


def _arrays(profile: ClusterProfile, site: Site) -> Finding:
    planned = profile.max_array_size or SLURMS_OWN_MAX_ARRAY_SIZE
    most = site.max_array_size
    if most == 0:
        advice = "Set evaluation.shards and evaluation.merge_shards to 1."
        return Finding("arrays", "problem", "this cluster takes no job arrays", advice)
    if planned > most:
        message = f"the profile plans for arrays of {planned}, this cluster takes {most}"
        return Finding("arrays", "problem", message, f"Set max_array_size: {most} in a profile.")
    advice = f"max_array_size: {most} in a profile uses that." if planned < most else ""
    return Finding("arrays", "ok", f"up to {most} jobs in one (MaxArraySize)", advice)


def _state(partition: Partition) -> Finding:
    if partition.state != "UP":
        advice = "Name another with --partition, or ask the administrators."
        return Finding("partition", "problem", f"{partition.name} is {partition.state}", advice)
    return Finding("partition", "ok", f"{partition.name}, as long as {time_limit(partition)}")


def _accounts(profile: ClusterProfile, site: Site, partition: Partition) -> Iterator[Finding]:
    yours = f" Yours: {', '.join(site.accounts)}." if site.accounts else ""
    if profile.account is None:
        if partition.allow_accounts:
            message = f"{partition.name} takes only {', '.join(partition.allow_accounts)}"
            advice = f"If your default is none of them, set account: in a profile.{yours}"
            yield Finding("account", "warning", message, advice)
        return
    may = {name.lower() for name in site.accounts}
    if may and "associations" in site.enforces and profile.account.lower() not in may:
        yield Finding("account", "problem", f"you may not charge {profile.account}", yours.strip())
    elif partition.allow_accounts and profile.account not in partition.allow_accounts:
        advice = f"It takes {', '.join(partition.allow_accounts)}."
        message = f"{partition.name} does not take {profile.account}"
        yield Finding("account", "problem", message, advice)
    else:
        yield Finding("account", "ok", profile.account)


def _nodes(partition: Partition) -> Finding:
    bad = [node for node in partition.nodes if not node.usable]
    if not partition.nodes:
        message = f"{partition.name} has no nodes that you can see"
        return Finding("nodes", "problem", message, "Name another with --partition.")
    if not bad:
        return Finding("nodes", "ok", f"all {len(partition.nodes)} take jobs")
    named = "; ".join(_named(node) for node in bad[:MAX_NAMED])
    more = f" and {len(bad) - MAX_NAMED} more" if len(bad) > MAX_NAMED else ""
    if len(bad) == len(partition.nodes):
        advice = "Name another partition, or ask the administrators."
        return Finding("nodes", "problem", f"none takes jobs: {named}{more}", advice)
    advice = "Jobs go to the others; one that needs more nodes than are left waits."
    message = f"{len(bad)} of {len(partition.nodes)} take no jobs: {named}{more}"
    return Finding("nodes", "warning", message, advice)


def _named(node: Node) -> str:
    away = "does not respond, " if node.state.endswith("*") else ""
    reason = f" ({node.reason})" if node.reason else ""
    return f"{node.name} {away}{node.state.rstrip('*')}{reason}"


def _gpus(profile: ClusterProfile, site: Site, partition: Partition) -> Iterator[Finding]:
    types = partition.gpu_types
    most = max((node.num_gpus for node in partition.nodes), default=0)
    if not most:
        others = [other.name for other in site.partitions if any(node.num_gpus for node in other.nodes)]
        advice = f"Partitions with GPUs: {', '.join(others)}." if others else ""
        yield Finding("GPUs", "ok", f"none in {partition.name}", advice)
    elif profile.gpu_type and profile.gpu_type not in types:
        advice = f"Slurm calls them {', '.join(types)}." if types else "Leave gpu_type out: they have none."
        yield Finding("GPUs", "problem", f"{partition.name} has no {profile.gpu_type}", advice)
    elif len(types) > 1 and not profile.gpu_type:
        message = f"up to {most} a node, of several types: {', '.join(types)}"
        yield Finding(
            "GPUs", "warning", message, "A job may get any of them: name one as gpu_type: in a profile."
        )
    else:
        kind = f" {profile.gpu_type or types[0]}" if types else ""
        yield Finding("GPUs", "ok", f"up to {most}{kind} a node")


def _preemption(site: Site, partition: Partition) -> Finding:
    mode = partition.preempt_mode or site.preempt_mode
    if site.preempt_type in ("", "none") or "OFF" in mode:
        return Finding("preemption", "ok", f"jobs in {partition.name} are not preempted")
    if site.preempt_type == "qos":
        advice = (
            "`sacctmgr show qos format=name,preempt,preemptmode,gracetime` tells which, how and how soon."
        )
        return Finding("preemption", "ok", "depends on the QOS of a job", advice)
    if "CANCEL" in mode:
        message = f"jobs in {partition.name} are cancelled, and not put back into the queue"
        return Finding("preemption", "warning", message, "`launch resume RUN` goes on where such a run was.")
    if "REQUEUE" not in mode:
        return Finding("preemption", "ok", f"jobs in {partition.name} are suspended, and go on later")
    return _requeueing(site, partition)


def _requeueing(site: Site, partition: Partition) -> Finding:
    """How long a job that goes back into the queue has to save what it did."""
    seconds = partition.grace_time_s or site.kill_wait_s
    # Without a time of grace there is no time for the signal: what ends the job comes at once.
    warned = site.warns_before_preemption and partition.grace_time_s
    first = "the signal it asked for" if warned else "TERM"
    message = (
        f"jobs in {partition.name} go back into the queue; each first gets {first}, and {seconds} s to save"
    )
    if seconds >= SHORT_WARNING_S:
        return Finding("preemption", "ok", message)
    advice = (
        "A checkpoint that takes longer to save is lost, and the one before it is used: set train.save_steps "
        "so that this costs little."
    )
    return Finding("preemption", "warning", message, advice)


def time_limit(partition: Partition) -> str:
    """The longest time of a partition in words: `2 d`, `12 h 30 min`, `you like`."""
    if partition.max_time_min is None:
        return "you like"
    hours, minutes = divmod(partition.max_time_min, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join(parts) or "0 min"

"""What a cluster says of itself: versions, limits, partitions and nodes, typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launch.slurm.answers import MISLEADING
from rankfold.errors import OperationalError

ANSWER_TIMEOUT_S = 30
"""A busy controller answers late; one that is down answers never."""

NODE_FORMAT = "%R|%N|%T|%c|%m|%G|%E"
UNUSABLE = re.compile(r"(?<!powered_)(?<!powering_)down|drain|fail|error|unk|maint|reboot|inval|future")
"""Parts of the states in which a node takes no new job; one that sleeps to save power is woken up."""

UNLIMITED = frozenset({"", "unlimited", "infinite", "none", "n/a", "(null)", "not_set"})


@dataclass(frozen=True)
class Node:
    """One node: `gpus` has a type and a number for each kind, the type `""` where Slurm knows none."""

    name: str
    state: str
    cpus: int
    memory_mib: int
    gpus: tuple[tuple[str, int], ...] = ()
    reason: str = ""

    @property
    def num_gpus(self) -> int:
        return sum(number for _, number in self.gpus)

    @property
    def usable(self) -> bool:
        """Whether it takes jobs, now or when others end; `*` means that it does not respond."""
        return not self.state.endswith("*") and not UNUSABLE.search(self.state)


@dataclass(frozen=True)
class Partition:
    """One partition; None: no limit. An empty list of accounts or QOS allows all."""

    name: str
    is_default: bool
    state: str
    max_time_min: int | None
    min_nodes: int
    max_nodes: int | None
    max_cpus_per_node: int | None
    max_memory_per_node_mib: int | None
    allow_accounts: tuple[str, ...]
    deny_accounts: tuple[str, ...]
    allow_qos: tuple[str, ...]
    deny_qos: tuple[str, ...]
    grace_time_s: int
    preempt_mode: str
    nodes: tuple[Node, ...] = ()

    @property
    def usable_nodes(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.usable)

    @property
    def gpu_types(self) -> tuple[str, ...]:
        """Types of GPUs by their names in Slurm, the untyped left out."""
        return tuple(sorted({kind for node in self.nodes for kind, _ in node.gpus if kind}))


@dataclass(frozen=True)
class Site:
    """A cluster.

    Attributes:
        max_array_size: Slurm's MaxArraySize: task ids end one below it; 0 where there are no arrays.
        has_accounting: Whether sacct has anything to answer from.
        enforces: What AccountingStorageEnforce names: associations, limits, qos …
        warns_before_preemption: Whether a preempted job gets the signal it asked for.
        kill_wait_s: From the TERM of a job's end to the KILL.
        accounts: This user's accounts, as far as Slurm tells.
    """

    cluster: str
    version: str
    max_array_size: int
    max_job_count: int
    has_accounting: bool
    enforces: tuple[str, ...]
    preempt_type: str
    preempt_mode: str
    warns_before_preemption: bool
    kill_wait_s: int
    partitions: tuple[Partition, ...]
    accounts: tuple[str, ...] = ()

    @property
    def default_partition(self) -> Partition | None:
        return next((partition for partition in self.partitions if partition.is_default), None)

    def partition(self, name: str) -> Partition | None:
        return next((partition for partition in self.partitions if partition.name == name), None)


def read_site(user: str) -> Site:
    """Ask Slurm what it is; accounts only where the accounting data base answers.

    Raises:
        OperationalError: The controller does not answer.
    """
    config = answer(["scontrol", "show", "config"])
    partitions = answer(["scontrol", "show", "partition", "--oneliner"])
    nodes = answer(["sinfo", "--Node", "--noheader", f"--format={NODE_FORMAT}"])
    return parse_site(config, partitions, nodes, _associations(user))


def parse_site(config: str, partitions: str, nodes: str, associations: str = "") -> Site:
    """The same from the texts of the four answers."""
    settings = _settings(config)
    signals = f"{settings.get('SlurmctldParameters')},{settings.get('PreemptParameters')}"
    storage = settings.get("AccountingStorageType", "")
    by_partition = _nodes(nodes)
    return Site(
        cluster=settings.get("ClusterName", ""),
        version=settings.get("SLURM_VERSION", ""),
        max_array_size=_number(settings.get("MaxArraySize")) or 0,
        max_job_count=_number(settings.get("MaxJobCount")) or 0,
        has_accounting=storage.lower() not in UNLIMITED and not storage.endswith("/none"),
        enforces=_words(settings.get("AccountingStorageEnforce")),
        preempt_type=settings.get("PreemptType", "").removeprefix("preempt/").replace("(null)", "none"),
        preempt_mode=settings.get("PreemptMode", ""),
        # Up to 22.05 the setting was called preempt_send_user_signal and stood elsewhere.
        warns_before_preemption="send_user_signal" in signals,
        kill_wait_s=_number(settings.get("KillWait")) or 0,
        partitions=tuple(
            _partition(line, by_partition) for line in partitions.splitlines() if "PartitionName=" in line
        ),
        accounts=tuple(dict.fromkeys(row.split("|")[0] for row in associations.splitlines() if row)),
    )


def answer(command: Sequence[str], *, timeout_s: float = ANSWER_TIMEOUT_S) -> str:
    """What a command of Slurm prints.

    Raises:
        OperationalError: It is not there, fails, or does not answer in time.
    """
    # SINFO_PARTITION and the like would hide a part of the cluster.
    clean = {name: value for name, value in os.environ.items() if not MISLEADING.match(name)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, env=clean
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OperationalError(f"{command[0]} does not answer: {error}") from error
    if done.returncode != 0:
        raise OperationalError(f"{command[0]} does not answer: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def minutes(text: str) -> int | None:
    """A time limit as Slurm writes it (`90`, `30:00`, `4:00:00`, `2-00:00:00`); None: no limit."""
    if text.lower() in UNLIMITED:
        return None
    days, dash, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash:
        # After days come hours first: 2-12 is two days and a half.
        hours, mins, _ = [*parts, 0, 0][:3]
    else:
        # From the right: minutes alone, minutes and seconds, or hours before both.
        hours, mins = (parts[0], parts[1]) if len(parts) == 3 else (0, parts[0])
    return int(days or 0) * 1440 + hours * 60 + mins


def gpus_of(gres: str) -> tuple[tuple[str, int], ...]:
    """GPUs in a node's generic resources: `gpu:a100:4(S:0-1),gpu:v100:2,nvme:1T` has a100 and v100."""
    found: dict[str, int] = {}
    for resource in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *rest = resource.split(":")
        if name != "gpu":
            continue
        number = int(rest.pop()) if rest and rest[-1].isdecimal() else 1
        kind = rest[0] if rest and rest[0] != "no_consume" else ""
        found[kind] = found.get(kind, 0) + number
    return tuple((kind, number) for kind, number in found.items() if number)


def _associations(user: str) -> str:
    """Accounts that a user may charge; empty where there is no accounting or it does not answer."""
    if shutil.which("sacctmgr") is None:
        return ""
    command = ["sacctmgr", "--noheader", "--parsable2", "show", "associations"]
    try:
        return answer([*command, f"user={user}", "format=account"])
    except OperationalError:
        # It serves to find a wrong account early; sbatch finds it anyway.
        return ""


def _settings(config: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in config.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _partition(line: str, by_partition: dict[str, list[Node]]) -> Partition:
    fields = {key: value for key, _, value in (word.partition("=") for word in line.split())}
    name = fields["PartitionName"]
    return Partition(
        name=name,
        is_default=fields.get("Default") == "YES",
        state=fields.get("State", "UP"),
        max_time_min=minutes(fields.get("MaxTime", "")),
        min_nodes=_number(fields.get("MinNodes")) or 0,
        max_nodes=_number(fields.get("MaxNodes")),
        max_cpus_per_node=_number(fields.get("MaxCPUsPerNode")),
        max_memory_per_node_mib=_number(fields.get("MaxMemPerNode")),
        allow_accounts=_words(fields.get("AllowAccounts")),
        deny_accounts=_words(fields.get("DenyAccounts")),
        allow_qos=_words(fields.get("AllowQos")),
        deny_qos=_words(fields.get("DenyQos")),
        grace_time_s=_number(fields.get("GraceTime")) or 0,
        preempt_mode=fields.get("PreemptMode", ""),
        nodes=tuple(by_partition.get(name, ())),
    )


def _nodes(text: str) -> dict[str, list[Node]]:
    by_partition: dict[str, list[Node]] = {}
    for row in text.splitlines():
        if row.count("|") < 6:
            continue
        partition, name, state, cpus, memory, gres, reason = row.strip().split("|", 6)
        node = Node(
            name=name,
            # Signs after the state tell of its power and plans; only * matters: it does not respond.
            state=re.sub(r"[~#!%$@^+-]+$", "", state.lower()),
            cpus=_number(cpus) or 0,
            memory_mib=_number(memory) or 0,
            gpus=gpus_of(gres),
            reason="" if reason.lower() == "none" else reason,
        )
        by_partition.setdefault(partition, []).append(node)
    return by_partition


def _number(text: Any) -> int | None:
    """A whole number, `4+` and `512000M` among them; None for no limit."""
    match = re.match(r"\d+", text or "")
    return int(match[0]) if match else None


def _words(text: str | None) -> tuple[str, ...]:
    """A list with commas between; empty for all and for none."""
    if text is None or text.lower() in UNLIMITED or text.lower() == "all":
        return ()
    return tuple(text.split(","))

"""What `launch doctor` finds: each finding with how bad it is and what to do about it."""

from __future__ import annotations

import difflib
import getpass
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from launch.profiles.profile import ClusterProfile
from launch.slurm.answers import slurm_answers
from launch.slurm.site import Partition, Site, read_site
from rankfold.errors import UserError

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. A problem keeps runs from working, a warning does not."""

    subject: str
    level: Level
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All that was found; `gpu_memory_gb` where a node could be asked."""

    site: Site
    partition: Partition | None
    findings: tuple[Finding, ...]
    gpu_memory_gb: float | None = None

    @property
    def works(self) -> bool:
        return all(finding.level != "problem" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "works": self.works,
            "partition": self.partition.name if self.partition else None,
            "findings": [asdict(finding) for finding in self.findings],
            "site": asdict(self.site),
        }


@dataclass(frozen=True)
class ProbeWish:
    """How large the probe is and how long it may wait for its start."""

    nodes: int = 2
    gpus: int = 0
    wait_s: float = 120.0


def diagnose(profile: ClusterProfile, runs_folder: Path, probe: ProbeWish | None) -> Diagnosis:
    """Ask the cluster, and with `probe` its nodes, whether runs will work.

    Raises:
        UserError: There is no Slurm here, or no such partition.
        OperationalError: Slurm stops answering.
    """
    from launch.doctor.cluster import cluster_findings
    from launch.doctor.job import run_probe
    from launch.doctor.nodes import gpu_memory_gb, node_findings

    if not slurm_answers():
        raise UserError(
            "there is no Slurm here: sbatch and scontrol are not on PATH, or the controller does not answer",
            remedy="Log in to the cluster, or start a small one on this machine with `launch cluster up`. "
            "`launch submit --cluster local` needs none.",
        )
    site = read_site(getpass.getuser())
    partition = _partition(profile, site)
    findings = list(cluster_findings(profile, site, partition))
    if probe is None or partition is None or partition.state != "UP" or not partition.usable_nodes:
        return Diagnosis(site, partition, tuple(findings))
    result = run_probe(
        profile,
        runs_folder=runs_folder,
        nodes=min(probe.nodes, len(partition.usable_nodes)),
        gpus=probe.gpus,
        wait_s=probe.wait_s,
    )
    findings += node_findings(result, runs_folder.absolute())
    return Diagnosis(site, partition, tuple(findings), gpu_memory_gb(result))


def _partition(profile: ClusterProfile, site: Site) -> Partition | None:
    """Where training would go; None where that is nowhere."""
    wanted = profile.for_stage("train").partition
    if wanted is None:
        return site.default_partition
    # Of several, Slurm takes whichever is free first; the first one stands for them.
    name = wanted.split(",")[0]
    found = site.partition(name)
    if found is None:
        names = [partition.name for partition in site.partitions]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(
            f"there is no partition {name}{hint}",
            remedy=f"Name one of: {', '.join(names)}.",
        )
    return found

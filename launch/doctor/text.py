"""A diagnosis as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launch.doctor.cluster import time_limit
from launch.doctor.findings import Diagnosis, Finding
from launch.slurm.site import Partition, Site
from launch.tables import BOLD, DIM, GREEN, RED, YELLOW, styled, table

MARKS = {"ok": ("✓", GREEN), "warning": ("!", YELLOW), "problem": ("✗", RED)}


def diagnosis_lines(diagnosis: Diagnosis, *, color: bool) -> Iterator[str]:
    """The partitions, every finding with advice, and what it comes to."""
    header, *rows = partition_table(diagnosis.site)
    yield styled(header, DIM, color=color)
    yield from rows
    yield ""
    widest = max(len(finding.subject) for finding in diagnosis.findings)
    for finding in diagnosis.findings:
        yield from _finding_lines(finding, widest, color=color)
    yield ""
    yield styled(_verdict(diagnosis.findings), BOLD, color=color)


def partition_table(site: Site) -> list[str]:
    """One line a partition; `*` marks the default one."""
    header = ("partition", "state", "longest", "nodes", "CPUs", "memory", "GPUs")
    return table(
        header, [_row(partition) for partition in site.partitions], right=("nodes", "CPUs", "memory")
    )


def _row(partition: Partition) -> tuple[str, ...]:
    nodes = partition.nodes
    usable = len(partition.usable_nodes)
    return (
        partition.name + ("*" if partition.is_default else ""),
        partition.state.lower(),
        time_limit(partition).replace("you like", "any"),
        f"{usable} of {len(nodes)}" if usable < len(nodes) else str(len(nodes)),
        _range([node.cpus for node in nodes]),
        _range([node.memory_mib // 1024 for node in nodes], " GB"),
        ", ".join(_gpus(partition)) or "–",
    )


def _gpus(partition: Partition) -> Iterator[str]:
    kinds = sorted({kind for node in partition.nodes for kind, _ in node.gpus})
    for kind in kinds:
        numbers = [number for node in partition.nodes for other, number in node.gpus if other == kind]
        yield f"{_range(numbers)} {kind}".rstrip()


def _range(numbers: Sequence[int], unit: str = "") -> str:
    if not numbers:
        return "–"
    low, high = min(numbers), max(numbers)
    return f"{low}{unit}" if low == high else f"{low}–{high}{unit}"


def _finding_lines(finding: Finding, widest: int, *, color: bool) -> Iterator[str]:
    mark, style = MARKS[finding.level]
    yield f"{styled(mark, style, color=color)} {finding.subject:<{widest}}  {finding.message}"
    if finding.advice:
        yield f"{' ' * (widest + 4)}→ {finding.advice}"


def _verdict(findings: Sequence[Finding]) -> str:
    problems = sum(finding.level == "problem" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if problems:
        return f"{problems} thing{'s' * (problems > 1)} will not work."
    return "Runs will work here." if not warnings else "Runs will work here; mind what is marked with !."

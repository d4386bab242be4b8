"""The cluster that tests of `launch doctor` look at, and its findings."""

from dataclasses import replace
from typing import Any

from slurm_sites import site

from launch.doctor.findings import Finding
from launch.slurm.site import Partition, Site

ALPINE = site("24.05")


def partition(name: str, of: Site = ALPINE, **changes: Any) -> Partition:
    found = of.partition(name)
    assert found is not None
    return replace(found, **changes)


def severity(finding: Finding) -> int:
    return ("ok", "warning", "problem").index(finding.level)

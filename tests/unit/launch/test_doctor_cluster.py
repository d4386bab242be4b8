"""What `launch doctor` makes of what a cluster says of itself."""

from dataclasses import replace
from typing import Any

import pytest
from unit.launch.doctor_sites import ALPINE, partition, severity

from launch.doctor.cluster import cluster_findings
from launch.doctor.findings import Finding
from launch.profiles.profile import ClusterProfile
from launch.slurm.site import Partition, Site


def told(
    subject: str, profile: ClusterProfile | None = None, of: Site = ALPINE, where: Partition | None = None
) -> Finding:
    """The finding about one subject, the worst first."""
    found = list(cluster_findings(profile or ClusterProfile(), of, where))
    return max((finding for finding in found if finding.subject == subject), key=severity)


def test_a_cluster_that_is_as_it_should_be_has_no_problem() -> None:
    found = list(cluster_findings(ClusterProfile(), ALPINE, partition("cpu")))
    assert {finding.level for finding in found} == {"ok"}
    assert told("partition", where=partition("cpu")).message == "cpu, as long as 2 d"
    assert told("arrays", where=partition("cpu")).advice == "max_array_size: 20001 in a profile uses that."


def test_nodes_that_take_no_jobs_are_named_with_their_reason() -> None:
    found = told("nodes", where=partition("gpu"))
    assert found.level == "warning"
    assert found.message == (
        "2 of 4 take no jobs: g03 does not respond, down (Not responding); g04 draining (ECC | slot 3)"
    )
    nowhere = partition("gpu", nodes=partition("gpu").nodes[2:])
    assert told("nodes", where=nowhere).level == "problem"


def test_without_a_default_partition_one_must_be_named() -> None:
    found = told("partition")
    assert found.level == "problem"
    assert "cpu, gpu, scavenge, old" in found.advice


@pytest.mark.parametrize(
    ("profile", "where", "subject", "message"),
    [
        ({}, "old", "partition", "old is INACTIVE"),
        ({}, "old", "nodes", "old has no nodes that you can see"),
        ({"account": "nobody"}, "gpu", "account", "you may not charge nobody"),
        ({"account": "students"}, "gpu", "account", "gpu does not take students"),
        ({"gpu_type": "h100"}, "gpu", "GPUs", "gpu has no h100"),
        ({"max_array_size": 30_000}, "gpu", "arrays", "plans for arrays of 30000, this cluster takes 20001"),
    ],
)
def test_what_will_not_work_is_a_problem(
    profile: dict[str, Any], where: str, subject: str, message: str
) -> None:
    found = told(subject, ClusterProfile(**profile), where=partition(where))
    assert found.level == "problem"
    assert message in found.message
    assert found.advice


def test_several_types_of_gpu_want_one_to_be_named() -> None:
    assert told("GPUs", where=partition("gpu")).level == "warning"
    assert (
        told("GPUs", ClusterProfile(gpu_type="a100"), where=partition("gpu")).message == "up to 4 a100 a node"
    )
    assert told("GPUs", where=partition("cpu")).advice == "Partitions with GPUs: gpu, scavenge."


@pytest.mark.parametrize(
    ("changes", "of", "level", "message"),
    [
        ({}, {}, "ok", "each first gets the signal it asked for, and 120 s to save"),
        ({"grace_time_s": 0}, {}, "ok", "each first gets TERM, and 60 s to save"),
        ({"grace_time_s": 0}, {"kill_wait_s": 5}, "warning", "each first gets TERM, and 5 s to save"),
        ({}, {"warns_before_preemption": False}, "ok", "each first gets TERM, and 120 s to save"),
        ({"preempt_mode": "CANCEL"}, {}, "warning", "cancelled, and not put back"),
        ({"preempt_mode": "GANG,SUSPEND"}, {}, "ok", "are suspended"),
        ({"preempt_mode": "OFF"}, {}, "ok", "are not preempted"),
        ({}, {"preempt_type": "none"}, "ok", "are not preempted"),
        ({}, {"preempt_type": "qos"}, "ok", "depends on the QOS"),
    ],
)
def test_preemption_says_what_happens_and_how_long_there_is_to_save(
    changes: dict[str, Any], of: dict[str, Any], level: str, message: str
) -> None:
    found = told("preemption", of=replace(ALPINE, **of), where=partition("scavenge", **changes))
    assert found.level == level
    assert message in found.message

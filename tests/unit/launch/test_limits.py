"""What a cluster would never run is told before it queues."""

from dataclasses import replace
from typing import Any

import pytest
from slurm_sites import site

from launch.machine import Machine
from launch.plan import Plan, make_plan
from launch.profiles.profile import ClusterProfile
from launch.slurm.limits import limit_problems

ALPINE = site("24.05")


def plan_of(make_recipe: Any, **changes: Any) -> Plan:
    return make_plan(make_recipe(**changes), cluster="slurm", machine=Machine(1), num_train_examples=None)


def problems(plan: Plan, profile: ClusterProfile) -> list[str]:
    return [" | ".join(problem) for problem in limit_problems(plan, profile, ALPINE)]


def on_gpu(make_recipe: Any, profile: ClusterProfile | None = None, **train: Any) -> list[str]:
    """Problems of a recipe that trains on the partition `gpu`, all else on the default one."""
    asked = {"gpus_per_node": 2, "cpus_per_gpu": 8, "time_limit_min": 60, **train}
    profile = replace(profile or ClusterProfile(), stages={"train": {"partition": "gpu"}})
    return problems(plan_of(make_recipe, resources={"train": asked}), profile)


def test_a_plan_within_the_limits_has_no_problem(make_recipe: Any) -> None:
    assert problems(plan_of(make_recipe), ClusterProfile()) == []
    assert on_gpu(make_recipe, nodes=2, gpus_per_node=4, cpus_per_gpu=12, memory_gb=400) == []


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (
            {"time_limit_min": 751},
            "resources.train.time_limit_min | 751 minutes are asked for, the partition gpu gives 750 | "
            "Set resources.train.time_limit_min to 750 or less; training that runs out of time goes on where "
            "it was, or name a partition that gives more: cpu, scavenge.",
        ),
        (
            {"nodes": 5},
            "resources.train.nodes | 5 nodes are asked for, a job in gpu gets 4 | "
            "Set resources.train.nodes to 4 or less.",
        ),
        (
            {"gpus_per_node": 8, "cpus_per_gpu": 1},
            "resources.train.gpus_per_node | 8 GPUs on each node are asked for, nodes of gpu have at most 4 "
            "| Set resources.train.gpus_per_node to 4 or less, or name another partition.",
        ),
        (
            {"gpus_per_node": 4, "cpus_per_gpu": 16},
            "resources.train.cpus_per_gpu | 4 ranks with 16 cores each make 64 cores on a node, nodes of gpu "
            "give at most 48 | Set resources.train.cpus_per_gpu to 12 or less.",
        ),
        (
            {"memory_gb": 489},
            "resources.train.memory_gb | 489 GB on each node are asked for, nodes of gpu give at most 488 | "
            "Set resources.train.memory_gb to 488 or less, or leave it out.",
        ),
        (
            {"nodes": 3, "gpus_per_node": 4},
            "resources.train.nodes | 3 nodes with 4 GPUs, 32 cores each are asked for, 2 of the 4 in gpu "
            "have that | Ask for fewer nodes, or for less on each.",
        ),
    ],
)
def test_a_job_beyond_a_limit_names_the_field_the_limit_and_the_way_out(
    make_recipe: Any, train: dict[str, Any], expected: str
) -> None:
    found = on_gpu(make_recipe, **train)
    assert found[0] == expected


def test_more_nodes_than_there_are_is_told_once(make_recipe: Any) -> None:
    plan = plan_of(make_recipe, resources={"train": {"nodes": 9}})
    (problem,) = problems(plan, ClusterProfile(partition="scavenge"))
    assert "9 nodes are asked for, the partition scavenge has 2" in problem


def test_an_unknown_partition_is_told_for_each_stage_with_the_one_that_was_meant(make_recipe: Any) -> None:
    found = problems(plan_of(make_recipe), ClusterProfile(partition="gpus"))
    assert len(found) == 4
    assert found[0] == (
        "profile default: partition | there is no partition gpus for prepare; did you mean gpu? | "
        "Name one of: cpu, gpu, scavenge, old."
    )
    (problem,) = problems(plan_of(make_recipe), ClusterProfile(stages={"merge": {"partition": "c"}}))
    assert problem.startswith("profile default: stages.merge.partition | there is no partition c for merge")


def test_a_partition_that_starts_nothing_names_those_that_do(make_recipe: Any) -> None:
    profile = ClusterProfile(stages={"merge": {"partition": "old"}})
    (problem,) = problems(plan_of(make_recipe), profile)
    assert "merge would go to old, which is INACTIVE and starts no job" in problem
    assert "Name another: cpu, gpu, scavenge." in problem


def test_a_cluster_without_a_default_partition_wants_one_named(make_recipe: Any) -> None:
    bare = replace(ALPINE, partitions=tuple(replace(p, is_default=False) for p in ALPINE.partitions))
    found = list(limit_problems(plan_of(make_recipe), ClusterProfile(), bare))
    assert "names no partition, and this cluster has no default" in found[0][1]


def test_of_several_partitions_one_that_can_is_enough(make_recipe: Any) -> None:
    plan = plan_of(make_recipe, resources={"train": {"time_limit_min": 900}})
    assert problems(plan, ClusterProfile(partition="gpu,cpu", account="lab")) == []
    assert "750" in problems(plan, ClusterProfile(partition="gpu,old", account="lab"))[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"account": "labs"},
            "you may not charge the account labs; did you mean lab? | Yours are: lab, students.",
        ),
        ({"account": "students"}, "the partition gpu does not take account students for train"),
        ({"qos": "scavenge"}, "the partition gpu does not take qos scavenge for train"),
        ({"gpu_type": "a10"}, "the partition gpu has no GPU a10; did you mean a100?"),
    ],
)
def test_who_may_not_charge_or_names_no_gpu_there_is_told(
    make_recipe: Any, changes: dict[str, Any], expected: str
) -> None:
    assert any(expected in problem for problem in on_gpu(make_recipe, replace(ClusterProfile(), **changes)))


def test_a_type_of_gpu_counts_only_the_nodes_that_have_it(make_recipe: Any) -> None:
    (problem,) = on_gpu(make_recipe, ClusterProfile(gpu_type="v100"), gpus_per_node=4)
    assert "nodes of gpu have at most 3" in problem


def test_arrays_are_held_to_what_the_cluster_takes_of_what_is_planned(make_recipe: Any) -> None:
    small = replace(ALPINE, max_array_size=10)
    few = plan_of(make_recipe, evaluation={"shards": 8})
    many = plan_of(make_recipe, evaluation={"shards": 11})
    assert list(limit_problems(few, ClusterProfile(), small)) == []
    (problem,) = limit_problems(many, ClusterProfile(), small)
    assert problem[2] == "Set max_array_size: 10 in the profile; larger arrays are then split."
    assert list(limit_problems(many, ClusterProfile(max_array_size=10), small)) == []
    without = replace(ALPINE, max_array_size=0)
    assert list(limit_problems(few, ClusterProfile(max_array_size=1), without)) == []
    (problem,) = limit_problems(few, ClusterProfile(), without)
    assert problem[2] == "Set evaluation.shards and evaluation.merge_shards to 1."


def test_more_jobs_than_the_cluster_holds_is_told(make_recipe: Any) -> None:
    plan = plan_of(make_recipe, evaluation={"shards": 8})
    (problem,) = limit_problems(plan, ClusterProfile(), replace(ALPINE, max_job_count=5))
    assert "this cluster takes 5 of all users" in problem[1]

"""The plan: which jobs, after which, with what, and the numbers that follow."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.machine import Machine
from launch.plan import Plan, make_plan, training_set_size
from rankfold.recipe.schema import Recipe

GPUS = {"train": {"nodes": 2, "gpus_per_node": 4, "cpus_per_gpu": 8}, "evaluate": {"gpus_per_node": 1}}


def plan(recipe: Recipe, cluster: Any = "local", cpus: int = 2, gpus: int = 0, examples: Any = 100) -> Plan:
    machine = Machine(cpus, tuple(str(gpu) for gpu in range(gpus)))
    return make_plan(recipe, cluster=cluster, machine=machine, num_train_examples=examples)


def test_each_job_waits_for_what_it_reads_and_for_nothing_else(make_recipe: Any) -> None:
    made = plan(make_recipe())
    assert {job.name: job.after for job in made.jobs} == {
        "prepare": (),
        "evaluate-base-0": ("prepare",),
        "evaluate-base-1": ("prepare",),
        "train": ("prepare",),
        "evaluate-fine_tuned-0": ("train",),
        "evaluate-fine_tuned-1": ("train",),
        "merge": (
            "evaluate-base-0",
            "evaluate-base-1",
            "evaluate-fine_tuned-0",
            "evaluate-fine_tuned-1",
        ),
    }


def test_a_merge_in_parts_waits_for_its_parts_and_they_for_every_evaluation(make_recipe: Any) -> None:
    recipe = make_recipe(evaluation={"shards": 2, "merge_shards": 3, "baseline": False})
    made = plan(recipe, "slurm")
    evaluations = ("evaluate-fine_tuned-0", "evaluate-fine_tuned-1")
    parts = [made.job(f"merge-{part}") for part in range(3)]
    assert [(part.shard, part.num_shards, part.after) for part in parts] == [
        (part, 3, evaluations) for part in range(3)
    ]
    assert made.job("merge").after == ("merge-0", "merge-1", "merge-2")
    assert made.job("merge").shard is None
    assert plan(recipe, cpus=8).job("merge-0").cpus_per_task == 2  # three side by side on this machine


def test_what_is_held_out_for_validation_is_not_trained_on(make_recipe: Any) -> None:
    data = {
        "train": {"path": "/a", "format": "spans"},
        "test": {"path": "/b", "format": "spans"},
        "split": {"validation": 0.2},
    }
    assert training_set_size(make_recipe(data=data), 100) == 100
    with_evaluation = make_recipe(data=data, train={"eval_strategy": "epoch"})
    assert training_set_size(with_evaluation, 100) == 80


def test_without_a_baseline_the_base_model_is_not_evaluated(make_recipe: Any) -> None:
    made = plan(make_recipe(evaluation={"baseline": False}))
    assert [job.name for job in made.jobs] == ["prepare", "train", "evaluate-fine_tuned-0", "merge"]


def test_on_slurm_every_gpu_is_a_rank_on_its_node(make_recipe: Any) -> None:
    made = plan(make_recipe(resources=GPUS), "slurm")
    train = made.job("train")
    assert (train.nodes, train.tasks_per_node, train.gpus_per_node, train.cpus_per_task) == (2, 4, 4, 8)
    assert made.world_size == train.ranks == 8
    assert made.global_batch_size == 4 * 2 * 8
    assert made.notes == ()


def test_a_machine_without_gpus_runs_one_rank_and_says_what_that_changes(make_recipe: Any) -> None:
    made = plan(make_recipe(resources=GPUS))
    train = made.job("train")
    assert (train.nodes, train.ranks, train.gpus_per_node, train.cpus_per_task) == (1, 1, 0, 2)
    assert made.notes == (
        "train asks for 8 GPUs on 2 nodes, this machine has no GPUs: it gets 1 rank",
        "evaluate asks for 1 GPU, this machine has no GPUs: it gets 1 rank",
        "the global batch size becomes 8 (the recipe's ranks would make it 64)",
    )


def test_two_nodes_fold_onto_the_gpus_of_this_one(make_recipe: Any) -> None:
    made = plan(make_recipe(resources=GPUS), cpus=16, gpus=4)
    train, shard = made.job("train"), made.job("evaluate-base-0")
    assert (train.nodes, train.ranks, train.gpus_per_node, train.cpus_per_task) == (1, 4, 4, 4)
    assert (shard.ranks, shard.gpus_per_node, shard.cpus_per_task) == (1, 1, 4)


def test_gpus_that_the_recipe_leaves_unused_are_mentioned(make_recipe: Any) -> None:
    made = plan(make_recipe(), cpus=8, gpus=1)
    assert made.job("train").gpus_per_node == 0
    assert made.notes[0].startswith("train leaves this machine's 1 GPU unused: resources.train.gpus_per_node")


def test_a_shard_is_one_rank_whatever_was_asked_for(make_recipe: Any) -> None:
    made = plan(make_recipe(resources={"evaluate": {"gpus_per_node": 4}}), "slurm")
    assert made.job("evaluate-base-0").gpus_per_node == 1
    assert made.job("evaluate-base-0").ranks == 1
    assert "raise evaluation.shards" in made.notes[0]


def test_shards_on_a_cpu_share_its_cores(make_recipe: Any) -> None:
    made = plan(make_recipe(evaluation={"shards": 5}), cpus=8)
    assert made.job("evaluate-base-0").cpus_per_task == 4
    assert made.job("prepare").cpus_per_task == 8


@pytest.mark.parametrize(
    ("batch", "accumulation", "epochs", "examples", "steps"),
    [
        (4, 1, 1, 100, 23),  # 90 of 100 are trained on: 22.5 batches
        (4, 2, 2, 100, 24),
        (64, 9, 1, 10, 1),
        (4, 1, 1, None, None),
    ],
)
def test_steps_are_counted_as_the_trainer_counts_them(
    make_recipe: Any, batch: int, accumulation: int, epochs: int, examples: int | None, steps: int | None
) -> None:
    recipe = make_recipe(
        train={
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": accumulation,
            "num_train_epochs": epochs,
        }
    )
    assert plan(recipe, examples=training_set_size(recipe, examples)).steps == steps


@pytest.mark.parametrize("examples", [None, 100])
def test_max_steps_is_the_number_of_steps(make_recipe: Any, examples: int | None) -> None:
    assert plan(make_recipe(train={"max_steps": 7}), examples=examples).steps == 7


@given(nodes=st.integers(1, 4), wanted=st.integers(0, 8), cpus=st.integers(1, 64), gpus=st.integers(0, 8))
def test_a_local_plan_always_fits_its_machine_and_survives_json(
    nodes: int, wanted: int, cpus: int, gpus: int
) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "task": "extractive_qa",
            "model": {"name_or_path": "m"},
            "data": {"source": {"path": "hub:x", "format": "squad"}},
            "resources": {"train": {"nodes": nodes, "gpus_per_node": wanted}},
        }
    )
    made = plan(recipe, cpus=cpus, gpus=gpus)
    for job in made.jobs:
        assert job.nodes == 1
        assert job.gpus_per_node <= gpus
        assert 1 <= (job.cpus_per_task or 0) <= cpus
        assert job.ranks <= max(gpus, cpus)
    assert made.global_batch_size == made.world_size * 8
    assert Plan.from_json(made.to_json()) == made

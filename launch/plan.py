"""From a recipe to the jobs that carry it out: pure, no file is read or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from launch.machine import Machine
from rankfold.recipe.steps import global_batch_size, optimizer_steps
from rankfold.run_folder import VARIANTS, job_name

if TYPE_CHECKING:
    from rankfold.recipe.schema import Recipe, StageResources

Cluster = Literal["slurm", "local"]
STAGES = ("prepare", "train", "evaluate", "merge")
MAX_SHARDS_AT_ONCE_ON_CPU = 2
"""More copies of a model on one CPU mostly fight for memory bandwidth."""


@dataclass(frozen=True)
class PlannedJob:
    """One job: what it runs, after which jobs, and what it asks for."""

    name: str
    stage: str
    variant: str | None
    shard: int | None
    num_shards: int
    after: tuple[str, ...]
    nodes: int
    tasks_per_node: int
    gpus_per_node: int
    cpus_per_task: int | None
    memory_gb: int | None
    time_limit_min: int

    @property
    def ranks(self) -> int:
        return self.nodes * self.tasks_per_node

    @property
    def array(self) -> str | None:
        """Name of the array that a shard's job belongs to; None for a job by itself."""
        return None if self.shard is None else f"{job_name(self.stage, self.variant)}-shards"


@dataclass(frozen=True)
class Plan:
    """The jobs of a run in the order they may start, and the numbers that follow from them."""

    name: str
    task: str
    cluster: Cluster
    jobs: tuple[PlannedJob, ...]
    world_size: int
    global_batch_size: int
    num_train_examples: int | None
    steps: int | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        jobs = tuple(PlannedJob(**{**job, "after": tuple(job["after"])}) for job in value["jobs"])
        return cls(**{**value, "jobs": jobs, "notes": tuple(value["notes"])})

    def job(self, name: str) -> PlannedJob:
        return next(job for job in self.jobs if job.name == name)


@dataclass(frozen=True)
class _Layout:
    """What every job of one stage asks for."""

    nodes: int
    tasks_per_node: int
    gpus_per_node: int
    cpus_per_task: int | None


def make_plan(recipe: Recipe, *, cluster: Cluster, machine: Machine, num_train_examples: int | None) -> Plan:
    """Lay out prepare → evaluate the base model and train → evaluate → merge.

    Args:
        machine: Where a local run's jobs must fit; not looked at for Slurm.
        num_train_examples: Size of the training set, None where only prepare will know.
    """
    notes: list[str] = []
    layouts = {stage: _layout(stage, recipe, cluster, machine, notes) for stage in STAGES}
    train = layouts["train"]
    world_size = train.nodes * train.tasks_per_node
    batch = global_batch_size(recipe.train, world_size)
    wanted = global_batch_size(recipe.train, _wanted_ranks(recipe))
    if wanted != batch:
        notes.append(f"the global batch size becomes {batch} (the recipe's ranks would make it {wanted})")
    return Plan(
        name=recipe.name,
        task=recipe.task,
        cluster=cluster,
        jobs=_jobs(recipe, layouts),
        world_size=world_size,
        global_batch_size=batch,
        num_train_examples=num_train_examples,
        steps=_steps(recipe, num_train_examples, world_size),
        notes=tuple(notes),
    )


def training_set_size(
    recipe: Recipe, count: int | None, mixed: Mapping[str, int | None] | None = None
) -> int | None:
    """Examples to train on, given how many the file to train on holds, and each that is mixed in."""
    if count is None:
        return None
    data = recipe.data
    if data.train is None:
        count = round(count * data.split.train)
    elif recipe.train.eval_strategy != "no":
        count = round(count * (1 - data.split.validation))
    main = data.train or data.source
    count = round(count * (main.weight if main else 1))
    for name, number in (mixed or {}).items():
        if number is None:
            return None
        count += round(number * data.mixed_with[name].weight)
    return min(count, data.max_train_examples or count)


def _jobs(recipe: Recipe, layouts: dict[str, _Layout]) -> tuple[PlannedJob, ...]:
    shards = range(recipe.evaluation.shards)
    base, fine_tuned = VARIANTS
    prepare = _job("prepare", recipe, layouts)
    baseline = [
        _job("evaluate", recipe, layouts, (prepare.name,), base, shard)
        for shard in shards
        if recipe.evaluation.baseline
    ]
    train = _job("train", recipe, layouts, (prepare.name,))
    final = [_job("evaluate", recipe, layouts, (train.name,), fine_tuned, shard) for shard in shards]
    evaluated = tuple(job.name for job in [*baseline, *final])
    num_parts = recipe.evaluation.merge_shards
    parts = [
        _job("merge", recipe, layouts, evaluated, shard=part) for part in range(num_parts) if num_parts > 1
    ]
    merge = _job("merge", recipe, layouts, tuple(part.name for part in parts) or evaluated)
    return (prepare, *baseline, train, *final, *parts, merge)


def _job(
    stage: str,
    recipe: Recipe,
    layouts: dict[str, _Layout],
    after: tuple[str, ...] = (),
    variant: str | None = None,
    shard: int | None = None,
) -> PlannedJob:
    resources: StageResources = getattr(recipe.resources, stage)
    num_shards = recipe.evaluation.merge_shards if stage == "merge" else recipe.evaluation.shards
    return PlannedJob(
        name=job_name(stage, variant, shard),
        stage=stage,
        variant=variant,
        shard=shard,
        num_shards=1 if shard is None else num_shards,
        after=after,
        memory_gb=resources.memory_gb,
        time_limit_min=resources.time_limit_min,
        **asdict(layouts[stage]),
    )


def _wanted_ranks(recipe: Recipe) -> int:
    train = recipe.resources.train
    return train.nodes * _tasks_per_node(train)


def _tasks_per_node(resources: StageResources) -> int:
    return resources.gpus_per_node or resources.tasks_per_node or 1


def _layout(stage: str, recipe: Recipe, cluster: Cluster, machine: Machine, notes: list[str]) -> _Layout:
    resources: StageResources = getattr(recipe.resources, stage)
    nodes, tasks, gpus = resources.nodes, _tasks_per_node(resources), resources.gpus_per_node
    if stage != "train" and nodes * tasks > 1:
        shards = {"evaluate": "evaluation.shards", "merge": "evaluation.merge_shards"}.get(stage)
        hint = f"; raise {shards} to use more" if shards else ""
        notes.append(f"{stage} runs as one rank on one node, whatever resources.{stage} says{hint}")
        nodes, tasks, gpus = 1, 1, min(gpus, 1)
    if cluster == "local":
        return _local_layout(stage, recipe, machine, nodes * tasks, gpus > 0, notes)
    cpus = resources.cpus_per_gpu if gpus else resources.cpus_per_task
    return _Layout(nodes, tasks, gpus, cpus)


def _local_layout(
    stage: str, recipe: Recipe, machine: Machine, ranks: int, wants_gpus: bool, notes: list[str]
) -> _Layout:
    """Fold a stage onto one node: as many ranks as were asked for and fit."""
    resources: StageResources = getattr(recipe.resources, stage)
    num_gpus = len(machine.gpus)
    if wants_gpus:
        fitting = min(ranks, max(1, num_gpus))
        gpus = fitting if num_gpus else 0
    else:
        fitting, gpus = min(ranks, machine.cpu_count), 0
        if stage in ("train", "evaluate") and num_gpus:
            notes.append(
                f"{stage} leaves this machine's {_count(num_gpus, 'GPU')} unused: "
                f"resources.{stage}.gpus_per_node is 0"
            )
    has = _count(num_gpus, "GPU") if wants_gpus else _count(machine.cpu_count, "CPU core")
    if fitting < ranks or (wants_gpus and not gpus):
        asked = _count(ranks, "GPU" if wants_gpus else "rank")
        if resources.nodes > 1:
            asked += f" on {resources.nodes} nodes"
        notes.append(f"{stage} asks for {asked}, this machine has {has}: it gets {_count(fitting, 'rank')}")
    at_once = _jobs_at_once(stage, recipe, machine, gpus)
    share = max(1, machine.cpu_count // (fitting * at_once))
    asked_cpus = resources.cpus_per_gpu if gpus else resources.cpus_per_task
    return _Layout(1, fitting, gpus, min(asked_cpus or share, share))


def _jobs_at_once(stage: str, recipe: Recipe, machine: Machine, gpus: int) -> int:
    """How many jobs of a stage this machine runs side by side."""
    if stage == "merge":
        return min(recipe.evaluation.merge_shards, machine.cpu_count)
    if stage != "evaluate":
        return 1
    limit = len(machine.gpus) if gpus else MAX_SHARDS_AT_ONCE_ON_CPU
    return max(1, min(recipe.evaluation.shards, limit, machine.cpu_count))


def _steps(recipe: Recipe, num_examples: int | None, world_size: int) -> int | None:
    """Optimizer steps; where the examples cannot be counted, only max_steps tells."""
    if num_examples is None:
        return recipe.train.max_steps
    return optimizer_steps(recipe.train, num_rows=num_examples, world_size=world_size)


def _count(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"

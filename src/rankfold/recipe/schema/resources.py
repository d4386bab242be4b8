"""What a recipe's stages run on, and how ranks share the work."""

from typing import Any, Literal

from pydantic import Field

from rankfold.recipe.schema.section import NonNegativeInt, PositiveInt, Section


class StageResources(Section):
    """What a stage asks for. A rank is a task; with GPUs, a rank is a GPU."""

    nodes: PositiveInt = Field(1, description="Machines.")
    gpus_per_node: NonNegativeInt = Field(0, description="GPUs, and so ranks, on each machine.")
    tasks_per_node: PositiveInt | None = Field(
        None, description="Ranks on each machine where there are no GPUs. Empty: one."
    )
    cpus_per_gpu: PositiveInt = Field(4, description="CPU cores for each rank that has a GPU.")
    cpus_per_task: PositiveInt | None = Field(
        None, description="CPU cores for each rank without a GPU. Empty: what the machine has."
    )
    memory_gb: PositiveInt | None = Field(
        None, description="Memory on each machine. Empty: the partition's default."
    )
    time_limit_min: PositiveInt = Field(60, description="Time limit in minutes.")


class Resources(Section):
    """What each stage asks for."""

    prepare: StageResources = Field(default_factory=StageResources, description="Tokenising.")
    train: StageResources = Field(default_factory=StageResources, description="Training.")
    evaluate: StageResources = Field(
        default_factory=StageResources, description="One shard of the evaluation."
    )
    merge: StageResources = Field(
        default_factory=StageResources, description="Merging shards, scores and the report."
    )


class Distributed(Section):
    """How ranks share the work."""

    strategy: Literal["none", "ddp", "zero1", "zero2", "zero3"] = Field(
        "ddp",
        description="`none`: one rank. `ddp`: every rank holds the model. `zero1|2|3`: DeepSpeed "
        "ZeRO shards optimizer states, gradients, parameters.",
    )
    offload: Literal["optimizer", "parameters"] | None = Field(
        None,
        description="With ZeRO: keep the optimizer's states in the CPU's memory, or with `zero3` the "
        "parameters too.",
    )
    deepspeed: dict[str, Any] = Field(
        default_factory=dict,
        description="DeepSpeed settings laid over the configuration built from `strategy`; `launch plan` "
        "shows the result.",
    )
    timeout_min: PositiveInt = Field(
        30,
        description="Longest time in minutes a rank may go without getting on, such as in a collective that "
        "hangs; then each rank writes down where it stands and the job ends.",
    )

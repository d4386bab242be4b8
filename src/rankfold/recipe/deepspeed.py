"""The DeepSpeed configuration that `distributed` stands for; needs neither DeepSpeed nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a plan that is read back needs no schema, which is slow to import
    from rankfold.recipe.schema import Recipe

ZERO_STAGES = {"zero1": 1, "zero2": 2, "zero3": 3}

BUCKET_SIZE = 50_000_000
"""Elements that travel at a time. DeepSpeed's own 500 million reserve 1 to 4 GB on every GPU, also where an
adapter trains a thousandth of that."""


def deepspeed_configuration(recipe: Recipe) -> dict[str, Any] | None:
    """Return the whole configuration, the recipe's overrides included; None where the strategy is not ZeRO.

    What the recipe says under a name of its own stands here as a number, and transformers refuses to train
    where its arguments say anything else.
    """
    stage = ZERO_STAGES.get(recipe.distributed.strategy)
    if stage is None:
        return None
    train = recipe.train
    built: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": train.per_device_train_batch_size,
        "gradient_accumulation_steps": train.gradient_accumulation_steps,
        "gradient_clipping": train.max_grad_norm,
        "bf16": {"enabled": train.bf16},
        "fp16": {"enabled": train.fp16},
        "zero_optimization": _zero_optimization(recipe, stage),
        # The Trainer's own optimizer: the same as without DeepSpeed, also where its states are offloaded.
        # DeepSpeed's CPU Adam must be compiled where the job runs, which takes a minute and a compiler.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    return _laid_over(built, recipe.distributed.deepspeed)


def _zero_optimization(recipe: Recipe, stage: int) -> dict[str, Any]:
    on_gpus = recipe.resources.train.gpus_per_node > 0
    zero: dict[str, Any] = {"stage": stage, "reduce_bucket_size": BUCKET_SIZE}
    if stage < 3:
        zero |= {"allgather_bucket_size": BUCKET_SIZE}
    if stage > 1:
        # A second stream, which CPUs do not have.
        zero |= {"overlap_comm": on_gpus, "contiguous_gradients": True}
    if stage == 3:
        # Without the gather, saving writes this rank's shard and calls it the model.
        zero |= {"stage3_gather_16bit_weights_on_model_save": True}
    # Pinned memory speeds copies to a GPU; without one there are none.
    on_cpu = {"device": "cpu", "pin_memory": on_gpus}
    if recipe.distributed.offload is not None:
        zero |= {"offload_optimizer": on_cpu}
    if recipe.distributed.offload == "parameters":
        zero |= {"offload_param": dict(on_cpu)}
    return zero


def _laid_over(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over others, section by section; null leaves a setting to DeepSpeed's own default."""
    merged = dict(base)
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            merged[key] = _laid_over(merged.get(key, {}), value)
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if value is not None}

"""The DeepSpeed configuration that `distributed.strategy` stands for."""

from collections.abc import Mapping
from typing import Any

import torch

from rankfold.recipe.schema import Recipe

ZERO_STAGES = {"zero1": 1, "zero2": 2, "zero3": 3}


def deepspeed_configuration(recipe: Recipe) -> dict[str, Any] | None:
    """Return DeepSpeed's configuration, or None where the strategy is not ZeRO.

    "auto" values are filled by transformers from TrainingArguments, so that no setting can differ
    between the two.
    """
    stage = ZERO_STAGES.get(recipe.distributed.strategy)
    if stage is None:
        return None
    zero: dict[str, Any] = {"stage": stage}
    if stage >= 2:
        zero |= {"overlap_comm": torch.cuda.is_available(), "contiguous_gradients": True}
    if stage == 3:
        # Without the gather, saving writes this rank's shard and calls it the model.
        zero |= {"stage3_gather_16bit_weights_on_model_save": True}
    built: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "zero_optimization": zero,
        # The Trainer's own optimizer: the same as without DeepSpeed, and no compiler needed.
        "zero_allow_untested_optimizer": True,
    }
    return _laid_over(built, recipe.distributed.deepspeed)


def prepare_deepspeed(recipe: Recipe) -> None:
    """Start DeepSpeed's process group where the recipe uses ZeRO; call before a model is built."""
    if recipe.distributed.strategy not in ZERO_STAGES:
        return
    import deepspeed

    if torch.cuda.is_available():
        deepspeed.init_distributed("nccl")
        return
    # Compiling the shared-memory collectives takes a minute; gloo's do.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # ZeRO-3 counts ranks while the model is built, so the group must exist by then.
    deepspeed.init_distributed("gloo")


def _laid_over(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overrides.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _laid_over(below, value) if both and below is not None else value
    return merged

"""DeepSpeed's process group, which ZeRO-3 needs before a model is built."""

import torch

from rankfold.recipe.deepspeed import ZERO_STAGES
from rankfold.recipe.schema import Recipe


def prepare_deepspeed(recipe: Recipe) -> None:
    """Have DeepSpeed take over the process group where the recipe uses ZeRO; call before a model is built."""
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

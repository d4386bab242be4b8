"""What DeepSpeed needs beside the Trainer: its process group, and weights given back."""

from typing import Any

import torch
from torch.distributed import distributed_c10d
from transformers.integrations import is_deepspeed_zero3_enabled

from rankfold.recipe.deepspeed import ZERO_STAGES
from rankfold.recipe.schema import Recipe
from rankfold.training.arguments import collective_timeout


def prepare_deepspeed(recipe: Recipe) -> None:
    """Have DeepSpeed take over the process group where the recipe uses ZeRO; call before a model is built."""
    if recipe.distributed.strategy not in ZERO_STAGES:
        return
    import deepspeed

    on_gpus = torch.cuda.is_available()
    if not on_gpus:
        # Compiling the shared-memory collectives takes a minute; gloo's do.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    timeout = collective_timeout(recipe)
    # ZeRO-3 counts ranks while the model is built, so the group must exist by then.
    deepspeed.init_distributed("nccl" if on_gpus else "gloo", timeout=timeout)
    # ZeRO's own collectives go through a copy of the group, which would have torch's default timeout.
    distributed_c10d._set_pg_timeout(timeout, deepspeed.utils.groups._clone_world_group())


def give_back_weights(engine: Any) -> None:
    """Have every rank keep its share alone of what ZeRO-3 gathered; `engine` is what the Trainer trains.

    ZeRO-3 keeps weights that, by the steps before, a backward pass will need soon. After an evaluation none
    comes, and autograd cannot use what was gathered in inference mode.
    """
    if is_deepspeed_zero3_enabled():
        engine.empty_partition_cache()

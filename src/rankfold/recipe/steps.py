"""How many optimizer steps a recipe's training takes, and after how many it is evaluated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a plan that is read back needs no schema, which is slow to import
    from rankfold.recipe.schema import Train


def global_batch_size(train: Train, world_size: int) -> int:
    """Examples in an optimizer step, over all ranks and accumulated batches."""
    return train.per_device_train_batch_size * train.gradient_accumulation_steps * world_size


def optimizer_steps(train: Train, *, num_rows: int, world_size: int) -> int:
    """Optimizer steps over `num_rows` training rows, counted as transformers' Trainer counts them."""
    if train.max_steps is not None:
        return train.max_steps
    batches = math.ceil(num_rows / (train.per_device_train_batch_size * world_size))
    steps_per_epoch = max(math.ceil(batches / train.gradient_accumulation_steps), 1)
    return math.ceil(train.num_train_epochs * steps_per_epoch)


def evaluation_steps(train: Train) -> int:
    """Optimizer steps between two evaluations, where they go by steps."""
    return train.eval_steps or train.save_steps

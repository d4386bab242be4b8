"""A recipe's training settings as transformers' TrainingArguments."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from rankfold.recipe.schema import Recipe, Train
from rankfold.training.deepspeed import deepspeed_configuration

PASSED_AS_THEY_ARE = (
    "bf16",
    "dataloader_num_workers",
    "fp16",
    "gradient_accumulation_steps",
    "learning_rate",
    "logging_steps",
    "lr_scheduler_type",
    "max_grad_norm",
    "num_train_epochs",
    "optim",
    "per_device_train_batch_size",
    "save_steps",
    "save_total_limit",
    "train_sampling_strategy",
    "warmup_steps",
    "weight_decay",
)
"""Settings with the same name and meaning in TrainingArguments."""

RENAMED = {
    # transformers 5 deprecates the old name.
    "gradient_checkpointing": "activation_checkpointing",
}

HANDLED_ELSEWHERE = {
    "head_learning_rate": "FineTuningTrainer.create_optimizer",
    "max_steps": "below: TrainingArguments wants -1 for none",
}


def training_arguments(recipe: Recipe, *, output_dir: Path, run_id: str) -> TrainingArguments:
    """Build the arguments of one training stage; every field of `train` takes effect.

    Raises:
        RecipeError: transformers knows no such optimizer, schedule or precision here.
    """
    _check_all_used()
    train = recipe.train
    return TrainingArguments(
        output_dir=str(output_dir),
        run_name=run_id,
        seed=recipe.seed,
        data_seed=recipe.seed,
        max_steps=train.max_steps or -1,
        save_strategy="steps",
        logging_first_step=True,
        # The filter would put an average in place of a NaN loss, and nobody would hear of it.
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=list(recipe.tracking.report_to) or "none",
        use_cpu=not torch.cuda.is_available(),
        # Pinned memory speeds copies to a GPU; without one it only warns.
        dataloader_pin_memory=torch.cuda.is_available(),
        # The collators choose what a model needs.
        remove_unused_columns=False,
        # With an adapter every trainable weight is used in every step.
        ddp_find_unused_parameters=False,
        deepspeed=deepspeed_configuration(recipe),
        **{name: getattr(train, name) for name in PASSED_AS_THEY_ARE},
        **_renamed(train),
    )


def _renamed(train: Train) -> dict[str, Any]:
    return {theirs: getattr(train, ours) for ours, theirs in RENAMED.items()}


def _check_all_used() -> None:
    """A setting that is added to the schema but forgotten here must fail at once, not be ignored."""
    forgotten = set(Train.model_fields) - {*PASSED_AS_THEY_ARE, *RENAMED, *HANDLED_ELSEWHERE}
    if forgotten:
        raise AssertionError(f"training settings that nothing reads: {sorted(forgotten)}")

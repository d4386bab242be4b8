"""A recipe's training settings as transformers' TrainingArguments."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.utils import is_liger_kernel_available

from rankfold.errors import RecipeError
from rankfold.recipe.deepspeed import deepspeed_configuration
from rankfold.recipe.schema import Recipe, Train
from rankfold.recipe.steps import evaluation_steps
from rankfold.task_facts import TaskFacts

PASSED_AS_THEY_ARE = (
    "bf16",
    "dataloader_num_workers",
    "eval_strategy",
    "fp16",
    "gradient_accumulation_steps",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "label_smoothing_factor",
    "learning_rate",
    "lr_scheduler_kwargs",
    "neftune_noise_alpha",
    "tf32",
    "torch_compile",
    "use_liger_kernel",
    "load_best_model_at_end",
    "logging_steps",
    "lr_scheduler_type",
    "max_grad_norm",
    "num_train_epochs",
    "optim",
    "per_device_train_batch_size",
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
    "contrastive_temperature": "the embedding task's loss",
    "dataloader_pin_memory": "below: only with a GPU",
    "distillation": "fine_tune: a loss of its own",
    "early_stopping_patience": "fine_tune: EarlyStoppingCallback",
    "early_stopping_threshold": "fine_tune: EarlyStoppingCallback",
    "eval_steps": "below: save_steps where empty",
    "head_learning_rate": "FineTuningTrainer.create_optimizer",
    "greater_is_better": "below: as is known of the metric where empty",
    "max_steps": "below: TrainingArguments wants -1 for none",
    "metric_for_best_model": "below: the task's own where empty",
    "packing": "prepare: rows are packed when they are tokenised",
    "save_total_limit": "FineTuningTrainer: which checkpoints stay",
    "save_steps": "below: the best model must have been saved; and fine_tune: SaveStepsCallback",
}

COLLECTIVE_MARGIN_S = 300
"""Ranks are not silent from the same moment on; five minutes are more than a checkpoint should take."""

_METRIC_SCHEDULES = ("reduce_lr_on_plateau", "greedy")
"""Schedules that follow a metric and, left alone, take it for a loss."""


def training_arguments(
    recipe: Recipe, *, output_dir: Path, run_id: str, task: TaskFacts
) -> TrainingArguments:
    """Build the arguments of one training stage; every field of `train` takes effect.

    Args:
        recipe: The whole recipe.
        output_dir: Where checkpoints go.
        run_id: The run's name in trackers.
        task: Says by which metric a checkpoint is best, unless the recipe names one.

    Raises:
        RecipeError: transformers knows no such optimizer, schedule or precision here, or Liger's kernels are
            asked for and not installed.
    """
    _check_all_used()
    train = recipe.train
    if train.use_liger_kernel and not is_liger_kernel_available():
        raise RecipeError(
            "Liger's kernels are asked for, but liger-kernel is not installed, or older than 0.3",
            where="train.use_liger_kernel",
            remedy="pip install --upgrade liger-kernel, or submit with train.use_liger_kernel=false.",
        )
    return TrainingArguments(
        output_dir=str(output_dir),
        run_name=run_id,
        seed=recipe.seed,
        data_seed=recipe.seed,
        max_steps=train.max_steps or -1,
        logging_first_step=True,
        # The filter would put an average in place of a NaN loss, and nobody would hear of it.
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=list(recipe.tracking.report_to) or "none",
        use_cpu=not torch.cuda.is_available(),
        # Pinned memory speeds copies to a GPU; without one it only warns.
        dataloader_pin_memory=train.dataloader_pin_memory and torch.cuda.is_available(),
        ddp_timeout=int(collective_timeout(recipe).total_seconds()),
        # The collators choose what a model needs.
        remove_unused_columns=False,
        # Before training it is seen whether there are any.
        ddp_find_unused_parameters=False,
        deepspeed=deepspeed_configuration(recipe),
        # Early stopping goes on counting where it was interrupted.
        restore_callback_states_from_checkpoint=True,
        # What follows from several settings comes last: a schedule's own settings are among it.
        **{
            **{name: getattr(train, name) for name in PASSED_AS_THEY_ARE},
            **_renamed(train),
            **_evaluation(train, task),
        },
    )


def collective_timeout(recipe: Recipe) -> timedelta:
    """Longest time of a collective: longer than a rank may stay silent, so that its stacks come first."""
    return timedelta(minutes=recipe.distributed.timeout_min, seconds=COLLECTIVE_MARGIN_S)


def _renamed(train: Train) -> dict[str, Any]:
    return {theirs: getattr(train, ours) for ours, theirs in RENAMED.items()}


def _evaluation(train: Train, task: TaskFacts) -> dict[str, Any]:
    """When to evaluate and save, and which metric counts."""
    if train.eval_strategy == "no":
        return {"save_strategy": "steps", "save_steps": train.save_steps}
    eval_steps = evaluation_steps(train)
    # As in metrics.json; people who know transformers may write its prefix.
    name = (train.metric_for_best_model or task.metric_for_best_model).removeprefix("eval_")
    greater = train.greater_is_better
    if greater is None:
        greater = task.metric(name).better != "lower"
    chosen: dict[str, Any] = {
        "eval_steps": eval_steps,
        "metric_for_best_model": name,
        "greater_is_better": greater,
    }
    if train.lr_scheduler_type in _METRIC_SCHEDULES:
        chosen["lr_scheduler_kwargs"] = {"mode": "max" if greater else "min", **train.lr_scheduler_kwargs}
    if not train.load_best_model_at_end:
        return {**chosen, "save_strategy": "steps", "save_steps": train.save_steps}
    # The best model can be loaded only if every evaluation left a checkpoint.
    return {**chosen, "save_strategy": train.eval_strategy, "save_steps": eval_steps}


def _check_all_used() -> None:
    """A setting that is added to the schema but forgotten here must fail at once, not be ignored."""
    forgotten = set(Train.model_fields) - {*PASSED_AS_THEY_ARE, *RENAMED, *HANDLED_ELSEWHERE}
    if forgotten:
        raise AssertionError(f"training settings that nothing reads: {sorted(forgotten)}")

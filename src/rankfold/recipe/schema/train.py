"""How a recipe trains."""

from typing import Annotated, Literal

from pydantic import Field

from rankfold.recipe.schema.section import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Scalar,
    Section,
)


class Distillation(Section):
    """A teacher whose probabilities are learned beside the labels (Hinton et al., 2015)."""

    teacher: str = Field(
        description="The teacher: a name as in `model.name_or_path`, of the same task; `NAME@REVISION` for a "
        "commit, tag or branch of a hub model."
    )
    temperature: PositiveFloat = Field(2.0, description="Both models' logits are divided by this.")
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Share of the teacher in the loss; the rest is the labels'."
    )


class Train(Section):
    """Training settings, by the names of transformers' TrainingArguments."""

    num_train_epochs: PositiveFloat = Field(3.0, description="Passes over the training set.")
    max_steps: PositiveInt | None = Field(
        None, description="Stop after so many optimizer steps; overrides num_train_epochs."
    )
    learning_rate: PositiveFloat = Field(5e-5, description="Peak learning rate.")
    head_learning_rate: PositiveFloat | None = Field(
        None,
        description="Learning rate of a newly initialised head; a small encoder learns much better "
        "with a larger one. Empty: learning_rate.",
    )
    per_device_train_batch_size: PositiveInt = Field(8, description="Examples a rank and step.")
    gradient_accumulation_steps: PositiveInt = Field(
        1, description="Batches summed before the optimizer steps."
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass to save memory."
    )
    bf16: bool = Field(False, description="Train in bfloat16 autocast.")
    fp16: bool = Field(False, description="Train in float16 autocast with loss scaling; needs a GPU.")
    optim: str = Field("adamw_torch", description="Optimizer, by transformers' name.")
    lr_scheduler_type: str = Field("linear", description="Schedule, by transformers' name.")
    warmup_steps: NonNegativeFloat = Field(
        0.0, description="Warm-up: optimizer steps, or a share of all steps where below 1."
    )
    weight_decay: NonNegativeFloat = Field(0.0, description="AdamW's weight decay.")
    max_grad_norm: NonNegativeFloat = Field(1.0, description="Gradients are clipped to this norm.")
    lr_scheduler_kwargs: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Settings of the schedule, by transformers' names, such as `num_cycles: 2`.",
    )
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="AdamW's first decay.")
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = Field(0.999, description="AdamW's second decay.")
    adam_epsilon: PositiveFloat = Field(1e-8, description="AdamW's epsilon.")
    tf32: bool | None = Field(
        None, description="TensorFloat-32 in float32 products on Ampere and newer. Empty: where the card can."
    )
    torch_compile: bool = Field(False, description="Compile the model with torch.compile.")
    use_liger_kernel: bool = Field(
        False, description="Liger's fused kernels, where liger-kernel is installed and knows the model."
    )
    neftune_noise_alpha: PositiveFloat | None = Field(
        None, description="NEFTune: noise on the embeddings while training, of this strength."
    )
    label_smoothing_factor: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of probability given to all other labels or tokens."
    )
    contrastive_temperature: PositiveFloat = Field(
        0.05, description="`embedding`: similarities are divided by this in the contrastive loss."
    )
    distillation: Distillation | None = Field(None, description="Learn from a larger model too.")
    packing: bool = Field(
        False,
        description="Put several short examples into one row of `data.max_length` tokens, kept apart in "
        "attention; for causal language models.",
    )
    train_sampling_strategy: Literal["random", "group_by_length"] = Field(
        "random",
        description="`random` deals out each step's examples sorted by length. `group_by_length` draws steps "
        "of similar length, which wastes still less on padding, but makes steps less alike.",
    )
    logging_steps: PositiveInt = Field(10, description="Log the loss every so many steps.")
    save_steps: PositiveInt = Field(500, description="Write a checkpoint every so many steps.")
    save_total_limit: PositiveInt = Field(2, description="Checkpoints kept; older ones go.")
    eval_strategy: Literal["no", "steps", "epoch"] = Field(
        "no",
        description="When to evaluate the validation set during training, with the task's own metrics: "
        "never, every `eval_steps`, or after each epoch.",
    )
    eval_steps: PositiveInt | None = Field(
        None, description="Evaluate every so many steps. Empty: every `save_steps`."
    )
    metric_for_best_model: str | None = Field(
        None,
        description="Name of the metric, as in metrics.json, that says which checkpoint is best. Empty: the "
        "task's own.",
    )
    greater_is_better: bool | None = Field(
        None, description="Whether a larger metric is better. Empty: as is known of the metric."
    )
    load_best_model_at_end: bool = Field(
        False,
        description="Keep the best checkpoint by `metric_for_best_model` instead of the last. Every "
        "evaluation then writes a checkpoint too, besides those of `save_steps`.",
    )
    early_stopping_patience: PositiveInt | None = Field(
        None, description="Stop after so many evaluations in a row without a better metric."
    )
    early_stopping_threshold: NonNegativeFloat = Field(
        0.0, description="By how much the metric must be better to count."
    )
    dataloader_num_workers: NonNegativeInt = Field(0, description="Loader processes a rank.")
    dataloader_pin_memory: bool = Field(
        True, description="Pin batches in memory, which speeds their way to a GPU; nothing without one."
    )


class Tracking(Section):
    """Where training curves go besides the report."""

    report_to: tuple[Literal["tensorboard", "trackio", "swanlab", "wandb", "mlflow"], ...] = Field(
        (), description="Trackers, by transformers' names. Each must be installed."
    )

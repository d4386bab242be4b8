"""What a recipe may say: every field, its type, its default and what it means.

The descriptions become the recipe reference and the JSON schema, so they are written for users.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Scalar = bool | int | float | str | None

HUB_PREFIX = "hub:"
"""Begins the path of a data set on the Hugging Face hub."""

PACKAGE_PREFIX = "package:"
"""Begins the name of a model that an installed Python package ships."""


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class Adapter(Section):
    """Parameter-efficient fine-tuning with PEFT; leave the section out to train every weight."""

    method: Literal["lora"] = Field("lora", description="PEFT method.")
    r: PositiveInt = Field(8, description="Rank of the update matrices.")
    lora_alpha: PositiveInt = Field(16, description="Scale of the update: lora_alpha / r.")
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Dropout on the adapter's input."
    )
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        "all-linear", description="Names of the layers that get an adapter."
    )


class Model(Section):
    """The model to start from."""

    name_or_path: str = Field(
        description="A hub id (`Qwen/Qwen2-1.5B-Instruct`), a folder (`./my-model`), or "
        "`package:NAME` for a model that an installed Python package ships."
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch of a hub model; empty for the default branch."
    )
    torch_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Precision the weights are loaded in."
    )
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        None, description="Attention kernel; empty lets transformers choose."
    )
    config: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Values of the model's own configuration to override, such as "
        "`attention_probs_dropout_prob: 0.0`.",
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with the model. Off unless you trust it."
    )
    adapter: Adapter | None = Field(None, description="PEFT adapter; empty trains every weight.")


class Source(Section):
    """A data set: a file, or a data set on the hub."""

    path: str = Field(
        description="A file, relative to the recipe that names it (.gz is read as it is), or "
        "`hub:NAME` or `hub:NAME@REVISION` for a data set on the Hugging Face hub."
    )
    format: Literal["ccfbdci", "spans", "conll", "squad"] = Field(
        description="`ccfbdci`: JSON lines with `entity_names`. `spans`: JSON lines with `text` and "
        "`entities` of `start`, `end` (exclusive), `label`. `conll`: token and tag (BIO, BIOES, BMES) in "
        "columns. "
        "`squad`: SQuAD's JSON, v1 or v2."
    )
    train_split: str = Field("train", description="For `hub:`, the split to train on.")
    test_split: str = Field(
        "validation",
        description="For `hub:`, the split to evaluate on; under `data.validation`, to validate on.",
    )

    @property
    def is_on_hub(self) -> bool:
        """Whether `path` names a data set on the hub instead of a file."""
        return self.path.startswith(HUB_PREFIX)


class Split(Section):
    """How one source becomes a training, a validation and a test set."""

    train: Annotated[float, Field(gt=0, lt=1)] = Field(0.9, description="Share to train on.")
    validation: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share to evaluate on during training (`train.eval_strategy`)."
    )
    test: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="Share to evaluate on at the end.")
    seed: NonNegativeInt = Field(42, description="Seed of the shuffle before the cut.")


class Data(Section):
    """Where examples come from and how long they may be."""

    source: Source | None = Field(None, description="One data set, divided by `split`.")
    split: Split = Field(
        default_factory=Split,
        description="Shares of `source`; elsewhere only `validation` counts, as a share of `train`.",
    )
    train: Source | None = Field(None, description="Training set, where it has its own file.")
    validation: Source | None = Field(
        None,
        description="Validation set for `train.eval_strategy`, where it has its own file. Beside `train` "
        "and `test` files, `split.validation` takes its share from the training set.",
    )
    test: Source | None = Field(None, description="Test set, where it has its own file.")
    labels: tuple[str, ...] = Field(
        (),
        description="Entity labels wanted, in the order the prompt names them. An entity with "
        "none of them is dropped.",
    )
    max_length: PositiveInt = Field(384, description="Longest sequence, in tokens.")
    doc_stride: PositiveInt = Field(
        128, description="Tokens that two neighbouring windows of a long context share."
    )
    label_all_tokens: bool = Field(
        True,
        description="`token_classification`: every token of a word carries its label, not just the first; "
        "leave it on for text without spaces.",
    )
    max_train_examples: PositiveInt | None = Field(
        None, description="Use only the first so many training examples after the shuffle."
    )
    max_validation_examples: PositiveInt | None = Field(
        None, description="Use only the first so many validation examples after the shuffle."
    )
    max_test_examples: PositiveInt | None = Field(
        None, description="Use only the first so many test examples after the shuffle."
    )


class Prompt(Section):
    """The words around a text in `generative_ner`; `{labels}`, `{text}`, `{no_entities}` are filled in."""

    language: Literal["en", "zh"] = Field(
        "en", description="Which built-in wording to use for whatever is left empty below."
    )
    system: str | None = Field(
        None, description="System message; must contain `{labels}` unless `user` does."
    )
    user: str | None = Field(None, description="User message; must contain `{text}`.")
    no_entities: str | None = Field(
        None, description="The sentence that stands for an answer without entities."
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
    train_sampling_strategy: Literal["random", "group_by_length"] = Field(
        "random",
        description="`group_by_length` batches examples of similar length, which wastes less on padding.",
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
    greater_is_better: bool = Field(True, description="Whether a larger metric is better.")
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


class Evaluation(Section):
    """How predictions are made and scored."""

    baseline: bool = Field(
        True, description="Evaluate the model before training too, to show what training brought."
    )
    shards: PositiveInt = Field(1, description="Independent jobs the evaluation is divided into.")
    unit_size: PositiveInt = Field(
        64,
        description="Windows or texts in a work unit: the grain of batching, resuming and sharding.",
    )
    per_device_eval_batch_size: PositiveInt = Field(16, description="Windows or texts in a batch.")
    merge_shards: PositiveInt = Field(
        1, description="Independent jobs the merge is divided into, by ranges of examples."
    )
    n_best_size: Annotated[int, Field(ge=1, le=20)] = Field(20, description="Candidates kept per example.")
    max_answer_length: PositiveInt = Field(
        30,
        description="Longest span of an answer or of an n-best entity, in tokens (in words where "
        "`label_all_tokens` is off).",
    )
    decoding_strategy: Literal["constrained", "argmax"] = Field(
        "constrained",
        description="`token_classification`: the best sequence of tags that the BIO scheme allows, or each "
        "token's best tag by itself.",
    )
    version_2_with_negative: bool | None = Field(
        None, description="SQuAD v2: questions may have no answer. Empty: as the data says."
    )
    null_score_diff_threshold: float = Field(
        0.0, description='SQuAD v2: answer "" where null score − best score is above this.'
    )
    num_bootstrap_resamples: NonNegativeInt = Field(
        1000, description="Resamples behind the 95 % confidence intervals of the scores; 0 leaves them out."
    )
    max_new_tokens: PositiveInt = Field(256, description="Longest generated answer, in tokens.")
    num_return_sequences: PositiveInt = Field(
        1, description="Sequences generated per text, from which n-best spans are built."
    )
    num_beams: PositiveInt = Field(
        1,
        description="Beams; at least num_return_sequences, or sample. Left out while not sampling: "
        "num_return_sequences.",
    )
    do_sample: bool = Field(False, description="Sample sequences instead of searching beams.")
    temperature: PositiveFloat = Field(1.0, description="Temperature of sampling.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Nucleus of sampling.")


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


class Tracking(Section):
    """Where training curves go besides the report."""

    report_to: tuple[Literal["tensorboard", "trackio", "swanlab", "wandb", "mlflow"], ...] = Field(
        (), description="Trackers, by transformers' names. Each must be installed."
    )


class Recipe(Section):
    """One fine-tuning run from data to report."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)] = Field(
        description="Short name; part of the run id. Letters, digits, `.`, `_`, `-`."
    )
    task: Literal["generative_ner", "token_classification", "extractive_qa"] = Field(
        description="What the model learns. `generative_ner`: a language model writes entities as "
        "JSON. `token_classification`: an encoder tags the tokens of entities. `extractive_qa`: an encoder "
        "marks the answer in its context."
    )
    seed: NonNegativeInt = Field(42, description="Seed of training and sampling.")
    model: Model = Field(description="The model to start from.")
    data: Data = Field(description="The examples.")
    prompt: Prompt = Field(default_factory=Prompt, description="Wording for `generative_ner`.")
    train: Train = Field(default_factory=Train, description="Training settings.")
    distributed: Distributed = Field(default_factory=Distributed, description="How ranks share the work.")
    evaluation: Evaluation = Field(
        default_factory=Evaluation, description="How predictions are made and scored."
    )
    resources: Resources = Field(default_factory=Resources, description="What each stage asks for.")
    tracking: Tracking = Field(default_factory=Tracking, description="Trackers.")

"""What a recipe may say: every field, its type, its default and what it means.

The descriptions become the recipe reference and the JSON schema, so they are written for users.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rankfold.task_facts import BUILT_IN

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Scalar = bool | int | float | str | None

RUN_PREFIX = "run:"
"""Begins the folder of an earlier run whose model is to be trained on."""

HUB_PREFIX = "hub:"
"""Begins the path of a data set on the Hugging Face hub."""

PACKAGE_PREFIX = "package:"
"""Begins the name of a model that an installed Python package ships."""


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class Adapter(Section):
    """Parameter-efficient fine-tuning with PEFT; leave the section out to train every weight."""

    method: Literal["lora", "dora", "rslora", "ia3", "prefix_tuning", "prompt_tuning", "p_tuning", "full"] = (
        Field(
            "lora",
            description="PEFT method. `dora` and `rslora` are LoRA with weights decomposed, and with another "
            "scale; `full` trains every weight, as without an adapter.",
        )
    )
    r: PositiveInt = Field(8, description="LoRA, DoRA, rsLoRA: rank of the update matrices.")
    lora_alpha: PositiveInt = Field(
        16, description="LoRA, DoRA, rsLoRA: scale of the update, lora_alpha / r (rsLoRA: / √r)."
    )
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="LoRA, DoRA, rsLoRA: dropout on the adapter's input."
    )
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        "all-linear", description="LoRA, DoRA, rsLoRA, IA3: names of the layers that get an adapter."
    )
    num_virtual_tokens: PositiveInt = Field(
        20, description="Prefix tuning, prompt tuning, p-tuning: learned tokens in front of every text."
    )
    encoder_hidden_size: PositiveInt | None = Field(
        None, description="P-tuning, prefix tuning: width of the network that makes the virtual tokens."
    )
    prompt_tuning_init_text: str | None = Field(
        None, description="Prompt tuning: words that the virtual tokens start from."
    )

    @property
    def trains_virtual_tokens(self) -> bool:
        """Whether it leaves the model's layers alone and puts learned tokens in front of every text."""
        return self.method in ("prefix_tuning", "prompt_tuning", "p_tuning")

    @property
    def is_lora(self) -> bool:
        """Whether it is LoRA or one of its kin."""
        return self.method in ("lora", "dora", "rslora")


class Quantization(Section):
    """A base model in few bits, which takes an adapter (QLoRA); needs bitsandbytes and a GPU."""

    bits: Literal[4, 8] = Field(4, description="Bits a weight.")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(
        "nf4", description="4 bits: which 16 values there are."
    )
    bnb_4bit_use_double_quant: bool = Field(True, description="4 bits: quantise the scales too.")


class Model(Section):
    """The model to start from."""

    name_or_path: str = Field(
        description="A hub id (`Qwen/Qwen2-1.5B-Instruct`), a folder (`./my-model`), "
        "`package:NAME` for a model that an installed Python package ships, or `run:FOLDER` for the model "
        "that an earlier run left in its folder, its adapter merged."
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch of a hub model; empty for the default branch."
    )
    torch_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Precision the weights are loaded in."
    )
    pooling: Literal["mean", "cls", "last"] = Field(
        "mean", description="`embedding`: how the vectors of tokens become one of the text."
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
    quantization: Quantization | None = Field(
        None, description="Load the base model in 4 or 8 bits; empty loads it as `torch_dtype` says."
    )
    freeze: tuple[str, ...] = Field(
        (),
        description="Parameters that are not trained: patterns of their names, with `*`, such as "
        "`*embeddings*`.",
    )
    num_frozen_layers: NonNegativeInt = Field(
        0, description="Lowest transformer layers that are not trained, and the embeddings below them."
    )

    @property
    def trained_adapter(self) -> Adapter | None:
        """The adapter to train; None where every weight is trained."""
        return None if self.adapter is None or self.adapter.method == "full" else self.adapter


class Source(Section):
    """A data set: a file, or a data set on the hub."""

    path: str = Field(
        description="A file, relative to the recipe that names it (.gz is read as it is), or "
        "`hub:NAME` or `hub:NAME@REVISION` for a data set on the Hugging Face hub."
    )
    format: Literal["ccfbdci", "spans", "conll", "squad", "jsonl", "json", "csv", "tsv", "parquet", "hub"] = (
        Field(
            description="Entities: `ccfbdci` (JSON lines with `entity_names`), `spans` (JSON lines with "
            "`text` and `entities` of `start`, `end` (exclusive), `label`) or `conll` (token and tag (BIO, "
            "BIOES, BMES) in columns). Questions: `squad` (SQuAD's JSON, v1 or v2, or its columns on the "
            "hub). Other tasks: tables, a row an example: `jsonl`, `json` (a list of objects), `csv`, `tsv`, "
            "`parquet`, and `hub` for a `hub:` data set."
        )
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Tables: field of the task's examples → column of this source, such as "
        "`labels: intent`. A dot goes into an object, `[]` into each element of a list: "
        "`choices: question.choices[].text`. `*NAME` is no column but the value NAME itself.",
    )
    has_header: bool = Field(
        True, description="`csv`, `tsv`: the first line names the columns; else they are `0`, `1`, …"
    )
    weight: PositiveFloat = Field(
        1.0,
        description="How often its examples come in a training epoch: 2 is twice, 0.5 every other one.",
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
    stratify: bool = Field(
        False, description="Give every side the same shares of labels; for tasks with labels."
    )
    group_by: str | None = Field(
        None,
        description="Column, or field of the examples, whose equal values stay on one side. Questions stay "
        "with their context anyway.",
    )


class Cleaning(Section):
    """What is left out before training; everything is counted in the report."""

    drop_duplicates: bool = Field(
        False,
        description="Drop training examples that repeat an earlier one, and those that are in the test or "
        "validation set too.",
    )
    drop_empty: bool = Field(True, description="Drop examples whose text is empty or blank.")
    min_characters: NonNegativeInt = Field(0, description="Drop training examples with a shorter text.")
    max_characters: PositiveInt | None = Field(None, description="Drop training examples with a longer text.")
    strict: bool = Field(
        False, description="Fail, naming the first ones, where anything would be dropped or repaired."
    )


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
    mixed_with: dict[str, Source] = Field(
        default_factory=dict,
        description="More training sets beside `train` or the training share of `source`, by a name of your "
        "own, each as often as its `weight` says.",
    )
    cleaning: Cleaning = Field(default_factory=Cleaning, description="What is left out before training.")
    streaming: bool = Field(
        False,
        description="Read, tokenise and write the training set a piece at a time, for what does not fit into "
        "memory. It is not shuffled before the cut, and `split` does not divide it.",
    )
    num_proc: PositiveInt | None = Field(
        None, description="Processes that tokenise. Empty: the cores of the prepare stage."
    )
    labels: tuple[str, ...] = Field(
        (),
        description="Labels wanted, in the order the prompt names them. An entity, or an example, with "
        "none of them is dropped.",
    )
    multi_label: bool = Field(
        False, description="`text_classification`: an example may have several labels, or none."
    )
    source_prefix: str = Field(
        "", description="`seq2seq`: words in front of every source, such as T5's `summarize: `."
    )
    max_target_length: PositiveInt = Field(
        128, description="`seq2seq`: longest target, in tokens; `max_length` is the longest source."
    )
    mlm_probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="`masked_lm`: share of tokens to guess."
    )
    noise_density: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="`denoising`: share of tokens cut out."
    )
    mean_noise_span_length: PositiveFloat = Field(
        3.0, description="`denoising`: mean length of what is cut out in one piece, in tokens."
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

    @property
    def is_mixed(self) -> bool:
        """Whether the training set is more than the examples of one source, each once."""
        main = self.train or self.source
        return bool(self.mixed_with) or (main is not None and main.weight != 1)


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
    task: str = Field(
        json_schema_extra={"examples": list(BUILT_IN)},
        description="What the model learns. `text_classification`: an encoder chooses labels for a text or a "
        "pair. `token_classification`: an encoder tags the tokens of entities. `extractive_qa`: an encoder "
        "marks the answer in its context. `generative_ner`: a language model writes entities as JSON. "
        "`instruction`: a language model answers messages. `causal_lm`, `masked_lm`: continued pre-training. "
        "`seq2seq`: text to text. `denoising`: span corruption for encoder-decoders. `multiple_choice`: an "
        "encoder chooses an answer. `embedding`: an encoder brings what belongs together close. Or the name "
        "of a task that an installed package brings.",
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

    @property
    def teacher(self) -> Model | None:
        """The model to learn from, loaded as the recipe's own; None without distillation."""
        if self.train.distillation is None:
            return None
        name, _, revision = self.train.distillation.teacher.partition("@")
        return Model(
            name_or_path=name,
            revision=revision or None,
            torch_dtype=self.model.torch_dtype,
            attn_implementation=self.model.attn_implementation,
            trust_remote_code=self.model.trust_remote_code,
        )

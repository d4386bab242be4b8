"""Where a recipe's examples come from, and how they become text."""

from typing import Annotated, Literal

from pydantic import Field

from rankfold.recipe.schema.section import NonNegativeInt, PositiveFloat, PositiveInt, Section

HUB_PREFIX = "hub:"
"""Begins the path of a data set on the Hugging Face hub."""


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

"""What a task is: how examples become features, a model's output becomes records, records scores."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import pyarrow as pa

from rankfold.data.collate import IGNORED_LABEL, pad
from rankfold.data.examples import Example
from rankfold.data.features import Features
from rankfold.data.rows import example_of_row
from rankfold.data.text_pairs import encode_texts
from rankfold.evaluation.work import UnitWork
from rankfold.json_lines import json_lines, member_lines
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import TaskFacts

if TYPE_CHECKING:
    # A task is imported to merge too, where nothing needs what takes seconds to import.
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ExampleT = TypeVar("ExampleT", bound=Example)
Row = Mapping[str, Any]

WITHOUT_RECORDS = frozenset({"baseline", "shards", "merge_shards"})
"""Fields of the recipe's `evaluation` that say what is evaluated where, and change no record."""


@dataclass(frozen=True)
class RecordedExamples(Generic[ExampleT]):
    """A range of examples with what was recorded of them, as a task merges it.

    Attributes:
        payloads: The payload of every work unit that holds a row of these examples, in order. The outer
            ones may also hold rows of other examples, which do not count here.
        examples: The examples of the range.
        features: Their rows of the evaluation features, without the others.
        first_example: Place of the first example in the data set.
        first_row: Place of the first row in the data set.
    """

    payloads: Sequence[bytes]
    examples: Sequence[ExampleT]
    features: pa.Table
    first_example: int = 0
    first_row: int = 0

    @property
    def places(self) -> range:
        """Places of the examples in the data set."""
        return range(self.first_example, self.first_example + len(self.examples))

    @property
    def rows(self) -> range:
        """Places of their rows in the data set."""
        return range(self.first_row, self.first_row + len(self.features))


@dataclass(frozen=True)
class Merged:
    """What a range of examples came to: UTF-8 lines for the files in `results/`, in data set order.

    No line holds a line break but the one at its end, and none holds NaN or infinity, so the files of all
    ranges are joined byte by byte.

    Attributes:
        predictions: One `"id": value` an example, a member of the object in `predictions.json`.
        nbest: One JSON object an example.
        details: One JSON object an example: gold, predicted, their comparison. All scores come from here.
    """

    predictions: bytes
    nbest: bytes
    details: bytes

    @classmethod
    def of_details(cls, details: Iterable[Row]) -> Merged:
        """The lines of examples whose only candidate is what their details call `predicted`."""
        rows = list(details)
        return cls(
            predictions=member_lines((row["id"], row["predicted"]) for row in rows),
            nbest=json_lines({"id": row["id"], "nbest": [{"text": row["predicted"]}]} for row in rows),
            details=json_lines(rows),
        )


class Task(ABC, Generic[ExampleT]):
    """One kind of fine-tuning. Subclasses hold no state: everything comes from the recipe.

    Attributes:
        auto_class: transformers' class to load the model with.
        peft_task_type: PEFT's name for the task.
        unit_name: What one row of the evaluation is called in progress and messages.
        example_type: What the reader of this task's data yields.
        loss_couples_rows: What a row learns depends on the others of its batch, such as those it is to differ
            from. Otherwise a step's rows may be in any of its batches, and are sorted by length.
        merge_settings: Fields of the recipe's `evaluation` that only `merge` and `metrics` read.
        facts: What is known of the task without importing it.
    """

    auto_class: ClassVar[str]
    peft_task_type: ClassVar[str]
    unit_name: ClassVar[Literal["window", "text"]] = "text"
    example_type: type[ExampleT]
    loss_couples_rows: ClassVar[bool] = False
    merge_settings: ClassVar[frozenset[str]] = frozenset({"num_bootstrap_resamples"})
    facts: ClassVar[TaskFacts]

    def example_of(self, row: Row, where: str) -> ExampleT:
        """Make an example of a row whose columns are its fields; `id` is there.

        Where a row comes to be predicted, what is to be learned may be missing.

        Raises:
            DataError: A field is missing, or its value is not what it has to be; names `where`.
        """
        return example_of_row(self.example_type, row, where)

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        """The settings that this task's records depend on besides model, data and batches.

        Records are only merged where all of these are equal; what only `merge` reads is left out, so that
        it may change afterwards. By default all of the recipe's `evaluation` but that.
        """
        left_out = self.merge_settings | WITHOUT_RECORDS
        evaluation = recipe.evaluation.model_dump(mode="json")
        return {name: json.dumps(value) for name, value in evaluation.items() if name not in left_out}

    def settle(self, recipe: Recipe, examples: Iterable[ExampleT]) -> Recipe:
        """Fill in what the recipe leaves to the data, from all examples of the test set.

        `merge` and `metrics` get what this returns: a range of examples does not show what the whole is.
        """
        return recipe

    def metric_for_best_model(self, examples: Iterable[ExampleT]) -> str:
        """The metric that says which checkpoint is best, unless the recipe does, on a validation set."""
        return self.facts.metric_for_best_model

    def model_config(self, labels: Sequence[str]) -> dict[str, Any]:
        """Values of the model's configuration that follow from the labels, such as the size of its head."""
        return {}

    @abstractmethod
    def training_features(
        self,
        examples: Sequence[ExampleT],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        """Tokenise examples with what the model is to learn; `labels` are the data set's.

        The examples are a piece of a training set. That none of a piece gives a row is no error: its columns
        are empty then, and `dropped` says why.
        """

    def evaluation_features(
        self,
        examples: Sequence[ExampleT],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        """Tokenise examples without the answers; column `example` is the index of a row's example.

        By default a row an example: its `facts.input_field`, cut at max_length.
        """
        texts = [getattr(example, self.facts.input_field or "text") for example in examples]
        encoded = encode_texts(texts, [None] * len(texts), tokenizer, recipe.data.max_length)
        columns: dict[str, list[Any]] = {**encoded.model_inputs, "example": list(range(len(texts)))}
        return Features(columns, num_truncated=sum(encoded.is_truncated))

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Make the model's arguments for a training batch, padded to its longest row.

        By default tokens and `labels`: one number a row, or one a token.
        """
        import torch

        from rankfold.evaluation.batches import model_inputs

        if isinstance(rows[0]["labels"], list):
            labels = pad(rows, "labels", IGNORED_LABEL, tokenizer.padding_side)
        else:
            labels = torch.tensor([row["labels"] for row in rows])
        return {**model_inputs(rows, tokenizer), "labels": labels}

    def num_items(self, batch: Mapping[str, Tensor]) -> int:
        """How many things the loss of a training batch is a mean over: rows, or tokens with a label.

        Gradients are those of the mean over all items of a step, however they are spread over ranks and
        accumulated batches.
        """
        labels = batch.get("labels")
        if labels is None or labels.ndim < 2 or labels.is_floating_point():
            return len(next(iter(batch.values())))
        # In a causal model no token predicts the first one, so that a label there does not count.
        counted = labels[:, 1:] if self.facts.model_kind == "decoder" else labels
        return int((counted != IGNORED_LABEL).sum())

    def loss(self, model: Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """The mean loss over a training batch's items, and the model's output: by default the model's own."""
        output = model(**batch)
        return output.loss, output

    @abstractmethod
    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> bytes:
        """Run the model over one work unit's rows and return its records.

        The result depends on the unit alone, never on the shard or on other units.

        Raises:
            NumericalError: The model gave NaN or infinity; names the window or text and the shard.
        """

    @abstractmethod
    def merge(
        self,
        recorded: RecordedExamples[ExampleT],
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Merged:
        """Fold the records of a range of examples into their predictions."""

    @abstractmethod
    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        """Score a data set from the details of all its examples, in order; None is a score not measured."""

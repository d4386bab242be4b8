"""What a task is: how examples become features, a model's output becomes records, records scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import pyarrow as pa

from rankfold.data.examples import Example
from rankfold.nbest.units import Unit
from rankfold.recipe.schema import Recipe

if TYPE_CHECKING:
    # A task is imported to merge too, where nothing needs what takes seconds to import.
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ExampleT = TypeVar("ExampleT", bound=Example)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Features:
    """Tokenised rows by column, and what was lost on the way.

    Attributes:
        columns: Column name → one value a row; `input_ids` is always among them.
        num_truncated: Examples that lost tokens to max_length.
        dropped: Reason → examples that gave no row at all, or entities that no row shows.
        repaired: Reason → examples or entities that are not learned quite as they are.
    """

    columns: dict[str, list[Any]]
    num_truncated: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    repaired: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        return sum(len(ids) for ids in self.columns["input_ids"])

    def __len__(self) -> int:
        return len(self.columns["input_ids"])


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


class Task(ABC, Generic[ExampleT]):
    """One kind of fine-tuning. Subclasses hold no state: everything comes from the recipe.

    Attributes:
        auto_class: transformers' class to load the model with.
        peft_task_type: PEFT's name for the task.
        unit_name: What one row of the evaluation is called in progress and messages.
        example_type: What the reader of this task's data yields.
        merge_settings: Fields of the recipe's `evaluation` that only `merge` and `metrics` read.
        metric_for_best_model: The metric that says which checkpoint is best, unless the recipe does; more
            is better.
    """

    auto_class: ClassVar[str]
    peft_task_type: ClassVar[str]
    unit_name: ClassVar[Literal["window", "text"]]
    example_type: type[ExampleT]
    merge_settings: ClassVar[frozenset[str]]
    metric_for_best_model: ClassVar[str]

    @abstractmethod
    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        """The settings that this task's records depend on besides model, data and batches.

        Records are only merged where all of these are equal; what only `merge` reads is left out, so that
        it may change afterwards.
        """

    def settle(self, recipe: Recipe, examples: Iterable[ExampleT]) -> Recipe:
        """Fill in what the recipe leaves to the data, from all examples of the test set.

        `merge` and `metrics` get what this returns: a range of examples does not show what the whole is.
        """
        return recipe

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
        """Tokenise examples with what the model is to learn; `labels` are the data set's."""

    @abstractmethod
    def evaluation_features(
        self,
        examples: Sequence[ExampleT],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        """Tokenise examples without the answers; column `example` is the index of a row's example."""

    @abstractmethod
    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Make the model's arguments for a training batch, padded to its longest row."""

    @abstractmethod
    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        features: Dataset,
        unit: Unit,
        recipe: Recipe,
        *,
        shard: str,
        advance: Callable[[int], None],
    ) -> bytes:
        """Run the model over one work unit's rows and return its records.

        The result depends on the unit alone, never on the shard or on other units; `advance` is told
        the number of rows done after each batch.

        Raises:
            NumericalError: The model gave NaN or infinity; names the window or text and `shard`.
        """

    @abstractmethod
    def merge(
        self,
        payloads: Sequence[bytes],
        examples: Sequence[ExampleT],
        features: pa.Table,
        recipe: Recipe,
        labels: Sequence[str],
        *,
        first_example: int,
        first_row: int,
    ) -> Merged:
        """Fold the records of a range of examples into their predictions.

        Args:
            payloads: The payload of every work unit that holds a row of these examples, in order. The
                outer ones may also hold rows of other examples, which do not count here.
            examples: The examples of the range.
            features: Their rows of the evaluation features, without the others.
            first_example: Place of the first example in the data set.
            first_row: Place of the first row in the data set.
        """

    @abstractmethod
    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        """Score a data set from the details of all its examples, in order."""

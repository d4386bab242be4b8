"""What a task is: how examples become features, a model's output becomes records, records scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.data.examples import Example
from rankfold.nbest.units import Unit
from rankfold.recipe.schema import Recipe

ExampleT = TypeVar("ExampleT", bound=Example)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Features:
    """Tokenised rows by column, and what was lost on the way.

    Attributes:
        columns: Column name → one value a row; `input_ids` is always among them.
        num_truncated: Examples that lost tokens to max_length.
        dropped: Reason → examples that gave no row at all.
    """

    columns: dict[str, list[Any]]
    num_truncated: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        return sum(len(ids) for ids in self.columns["input_ids"])

    def __len__(self) -> int:
        return len(self.columns["input_ids"])


@dataclass(frozen=True)
class Results:
    """What a merged evaluation came to; `run_folder.py` says which file each part becomes."""

    predictions: Mapping[str, Any]
    nbest: Iterable[Row]
    details: Iterable[Row]
    metrics: Mapping[str, Any]


class Task(ABC, Generic[ExampleT]):
    """One kind of fine-tuning. Subclasses hold no state: everything comes from the recipe.

    Attributes:
        auto_class: transformers' class to load the model with.
        peft_task_type: PEFT's name for the task.
        unit_name: What one row of the evaluation is called in progress and messages.
        example_type: What the reader of this task's data yields.
    """

    auto_class: ClassVar[str]
    peft_task_type: ClassVar[str]
    unit_name: ClassVar[Literal["window", "text"]]
    example_type: type[ExampleT]

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
        units: Sequence[tuple[Unit, bytes]],
        examples: Sequence[ExampleT],
        features: Dataset,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Results:
        """Fold every unit's records, each exactly once, into predictions and scores."""

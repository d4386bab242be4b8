"""What a process loads before it can tokenise training examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rankfold.data.examples import Example
from rankfold.data.features import Features
from rankfold.data.pieces import Tokenise
from rankfold.modeling.load import load_tokenizer
from rankfold.recipe.schema import Recipe
from rankfold.tasks.registry import load_task


@dataclass(frozen=True)
class Tokenising:
    """A recipe, the data set's labels, and the folder of the model whose tokenizer it is."""

    recipe: Recipe
    labels: tuple[str, ...]
    model: Path

    def load(self) -> Tokenise:
        """Load task and tokenizer; return what makes features of examples."""
        task, tokenizer = load_task(self.recipe.task), load_tokenizer(self.model)

        def tokenise(examples: Sequence[Example]) -> Features:
            return task.training_features(examples, tokenizer, self.recipe, self.labels)

        return tokenise

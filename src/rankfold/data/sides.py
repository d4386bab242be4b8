"""The sides of a recipe's data, and what was left out or put right on the way to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rankfold.data.examples import Example
from rankfold.data.mixing import MAIN, Weighted
from rankfold.data.result import Tally
from rankfold.errors import DataError
from rankfold.recipe.schema import Data


@dataclass(frozen=True)
class TrainingSet:
    """The training examples of one source, as often as its weight says; iterable again and again."""

    name: str
    weight: float
    examples: Iterable[Example]


@dataclass(frozen=True)
class Splits:
    """The examples of each side, the labels in them, and what was left out or put right.

    A side is `train`, `validation`, `test`, the name of a set that is mixed in, or `source`, which is what
    was read before it was divided.

    Attributes:
        train_sets: The training set, and those it is mixed with.
        validation: What training evaluates along the way; empty where the recipe does not.
        dropped: Side → reason → count.
        repaired: Side → what → count.
        first: Side → reason → where the first ones are.
    """

    train_sets: tuple[TrainingSet, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    dropped: Mapping[str, Mapping[str, int]]
    repaired: Mapping[str, Mapping[str, int]]
    first: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    @property
    def train(self) -> tuple[Example, ...]:
        """All training examples, in order."""
        return tuple(example for one in self.train_sets for example in one.examples)


@dataclass
class Tallies:
    """What was dropped and repaired, by side."""

    dropped: dict[str, Tally] = field(default_factory=dict)
    repaired: dict[str, Tally] = field(default_factory=dict)

    def drops(self, side: str) -> Tally:
        """What was left out of a side, to be counted on."""
        return self.dropped.setdefault(side, Tally())

    def repairs(self, side: str) -> Tally:
        """What was put right in a side, to be counted on."""
        return self.repaired.setdefault(side, Tally())

    def splits(
        self,
        train_sets: Iterable[TrainingSet],
        validation: Sequence[Example],
        test: Sequence[Example],
        labels: Iterable[str],
    ) -> Splits:
        """The sides, with what was counted on the way to them."""
        first: dict[str, dict[str, Sequence[str]]] = {}
        for side, tally in (*self.dropped.items(), *self.repaired.items()):
            first.setdefault(side, {}).update(tally.first)
        return Splits(
            tuple(train_sets),
            tuple(validation),
            tuple(test),
            tuple(labels),
            {side: dict(tally.counts) for side, tally in self.dropped.items()},
            {side: dict(tally.counts) for side, tally in self.repaired.items()},
            first,
        )


def weighted(data: Data, sets: Mapping[str, Iterable[Example]]) -> tuple[TrainingSet, ...]:
    """Training sets by name, each as often as its weight in the recipe says."""
    main = data.train or data.source
    weights = {MAIN: main.weight if main else 1.0}
    weights |= {name: source.weight for name, source in data.mixed_with.items()}
    mixed = data.is_mixed
    return tuple(
        TrainingSet(
            name,
            weights[name],
            Weighted(examples, name, weights[name], data.split.seed) if mixed else examples,
        )
        for name, examples in sets.items()
    )


def nothing_left(name: str, dropped: Tally) -> DataError:
    """The error for a set of which everything was left out."""
    reasons = "; ".join(f"{count:,} × {reason}" for reason, count in dropped.counts.items())
    return DataError(
        f"no example of {name} is left: {reasons}",
        where="data.cleaning",
        remedy="Clean less, or correct the data.",
    )

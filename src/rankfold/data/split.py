"""One data set divided into a training and a test set, the same way everywhere."""

import math
import random
from collections.abc import Sequence
from typing import TypeVar

from rankfold.data.examples import Example, QuestionExample
from rankfold.errors import DataError
from rankfold.recipe.schema import Split

ExampleT = TypeVar("ExampleT", bound=Example)
T = TypeVar("T")


def split_examples(
    examples: Sequence[ExampleT], split: Split
) -> tuple[tuple[ExampleT, ...], tuple[ExampleT, ...]]:
    """Shuffle by `split.seed` and cut into a training and a test set, neither of them empty.

    Sizes are the shares rounded; where the shares add up to 1, every example is on one side. Questions
    about one context stay together, so that no context is trained on and tested: there the sizes are as
    near to the shares as whole contexts allow. A rare label may end up on one side only.

    Raises:
        DataError: A side would be empty.
    """
    groups = shuffle(_groups(examples), split.seed)
    total = len(examples)
    whole = math.isclose(split.train + split.test, 1)
    train_size = round(total * split.train)
    test_size = total - train_size if whole else round(total * split.test)
    first_test_group = _nearest_cut(groups, train_size)
    train, rest = groups[:first_test_group], groups[first_test_group:]
    test = rest if whole else rest[: _nearest_cut(rest, test_size)]
    if not train or not test:
        raise DataError(
            f"{total} examples in {len(groups)} groups, divided {split.train:g} to {split.test:g}, "
            f"give {_size(train)} for training and {_size(test)} for testing; both need at least one",
            where="data.split",
            remedy="Use more data, other shares, or a `train` and a `test` file of their own.",
        )
    return tuple(_flatten(train)), tuple(_flatten(test))


def take(examples: Sequence[ExampleT], n: int, seed: int) -> tuple[ExampleT, ...]:
    """Return the first `n` examples after a shuffle by `seed`, or all of them if there are fewer."""
    return tuple(shuffle(examples, seed)[:n])


def shuffle(items: Sequence[T], seed: int) -> list[T]:
    """Return the items in a random order that depends on the seed and on their number only.

    Python promises the same `random()` for a seed in every version, but not the same `shuffle()`
    (documentation of `random`, notes on reproducibility), so the items are sorted by `random()`.
    """
    generator = random.Random(seed)  # noqa: S311 (no secret depends on it)
    keys = [generator.random() for _ in items]
    return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)]


def _groups(examples: Sequence[ExampleT]) -> list[list[ExampleT]]:
    groups: dict[object, list[ExampleT]] = {}
    for index, example in enumerate(examples):
        key = example.context if isinstance(example, QuestionExample) else index
        groups.setdefault(key, []).append(example)
    return list(groups.values())


def _nearest_cut(groups: Sequence[Sequence[object]], size: int) -> int:
    """Return how many leading groups hold as near to `size` items as possible."""
    sizes = [0]
    for group in groups:
        sizes.append(sizes[-1] + len(group))
    return min(range(len(sizes)), key=lambda count: abs(sizes[count] - size))


def _flatten(groups: Sequence[Sequence[ExampleT]]) -> list[ExampleT]:
    return [example for group in groups for example in group]


def _size(groups: Sequence[Sequence[object]]) -> int:
    return sum(len(group) for group in groups)

"""One data set divided into training, validation and test sets, the same way everywhere."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rankfold.data.examples import Example, QuestionExample
from rankfold.errors import DataError
from rankfold.recipe.schema import Split

ExampleT = TypeVar("ExampleT", bound=Example)
T = TypeVar("T")


@dataclass(frozen=True)
class Sides(Generic[ExampleT]):
    """The sides of a divided data set; `validation` is empty where it has no share."""

    train: tuple[ExampleT, ...]
    validation: tuple[ExampleT, ...]
    test: tuple[ExampleT, ...]


def split_examples(examples: Sequence[ExampleT], split: Split) -> Sides[ExampleT]:
    """Shuffle by `split.seed` and cut into a training, a validation and a test set.

    Sizes are the shares rounded; where the shares add up to 1, every example is on one side. The test set
    depends on where training and validation end, not on how they share what is before it. Questions about
    one context stay together, so that no context is trained on and tested: there the sizes are as near to
    the shares as whole contexts allow. A rare label may end up on one side only.

    Raises:
        DataError: A side with a share would be empty.
    """
    groups = shuffle(_groups(examples), split.seed)
    total = len(examples)
    before_test = split.train + split.validation
    whole = math.isclose(before_test + split.test, 1)
    num_before_test = round(total * before_test)
    train_end = _nearest_cut(groups, round(total * split.train))
    # Without a validation set both cuts are the same one.
    test_start = _nearest_cut(groups, num_before_test)
    rest = groups[test_start:]
    test_size = total - num_before_test if whole else round(total * split.test)
    sides = Sides(
        tuple(_flatten(groups[:train_end])),
        tuple(_flatten(groups[train_end:test_start])),
        tuple(_flatten(rest if whole else rest[: _nearest_cut(rest, test_size)])),
    )
    if not sides.train or not sides.test or bool(sides.validation) != bool(split.validation):
        raise _empty_side(sides, split, f"{total} examples in {len(groups)} groups")
    return sides


def hold_out(
    examples: Sequence[ExampleT], share: float, seed: int
) -> tuple[tuple[ExampleT, ...], tuple[ExampleT, ...]]:
    """Take a share of a training set for validation, contexts whole, and return what is left and the share.

    Raises:
        DataError: One of the two would be empty.
    """
    groups = shuffle(_groups(examples), seed)
    cut = _nearest_cut(groups, round(len(examples) * (1 - share)))
    kept, held_out = tuple(_flatten(groups[:cut])), tuple(_flatten(groups[cut:]))
    if not kept or not held_out:
        raise DataError(
            f"a share of {share:g} of {len(examples)} training examples in {len(groups)} groups leaves "
            f"{len(kept)} for training and {len(held_out)} for validation; both need at least one",
            where="data.split.validation",
            remedy="Use more data, another share, or a file of its own in data.validation.",
        )
    return kept, held_out


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


def _empty_side(sides: Sides[ExampleT], split: Split, found: str) -> DataError:
    shares = [f"{split.train:g}", f"{split.test:g}"]
    sizes = [f"{len(sides.train)} for training", f"{len(sides.test)} for testing"]
    need = "both need"
    if split.validation:
        shares.insert(1, f"{split.validation:g}")
        sizes = [sizes[0] + f", {len(sides.validation)} for validation", sizes[1]]
        need = "each needs"
    return DataError(
        f"{found}, divided {' to '.join(shares)}, give {' and '.join(sizes)}; {need} at least one",
        where="data.split",
        remedy="Use more data, other shares, or a `train` and a `test` file of their own.",
    )

"""One data set divided into training, validation and test sets, the same way everywhere."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from rankfold.data.cleaning import labels_of
from rankfold.data.examples import Example, QuestionExample
from rankfold.errors import DataError
from rankfold.recipe.schema import Split

ExampleT = TypeVar("ExampleT", bound=Example)
T = TypeVar("T")
Pieces: TypeAlias = Sequence[Sequence[ExampleT]]
"""Examples that stay together, in an order."""


@dataclass(frozen=True)
class Sides(Generic[ExampleT]):
    """The sides of a divided data set; `validation` is empty where it has no share."""

    train: tuple[ExampleT, ...]
    validation: tuple[ExampleT, ...]
    test: tuple[ExampleT, ...]


def split_examples(
    examples: Sequence[ExampleT], split: Split, groups: Mapping[str, str] | None = None
) -> Sides[ExampleT]:
    """Shuffle by `split.seed` and cut into a training, a validation and a test set.

    Sizes are the shares rounded; where the shares add up to 1, every example is on one side. The test set
    depends on where training and validation end, not on how they share what is before it. Questions about
    one context stay together, so that no context is trained on and tested, and so does each of `groups`:
    there the sizes are as near to the shares as whole groups allow. A rare label may end up on one side only.
    With `split.stratify` each side has of each label its share, rounded up or down.

    Args:
        examples: What to divide.
        split: The shares.
        groups: Example's id → what it is kept together by.

    Raises:
        DataError: A side with a share would be empty.
    """
    pieces = shuffle(_groups(examples, groups or {}), split.seed)
    total = len(examples)
    before_test = split.train + split.validation
    whole = math.isclose(before_test + split.test, 1)
    num_before_test = round(total * before_test)
    num_tested = total - num_before_test if whole else round(total * split.test)
    cut = _cut_stratified if split.stratify else _cut
    before, behind = cut(pieces, num_before_test)
    test = behind if whole else cut(behind, num_tested)[0]
    train, validation = cut(before, round(total * split.train)) if split.validation else (before, [])
    sides = Sides(tuple(_flatten(train)), tuple(_flatten(validation)), tuple(_flatten(test)))
    if not sides.train or not sides.test or bool(sides.validation) != bool(split.validation):
        raise _empty_side(sides, split, f"{total} examples in {len(pieces)} groups")
    return sides


def hold_out(
    examples: Sequence[ExampleT], split: Split, groups: Mapping[str, str] | None = None
) -> tuple[tuple[ExampleT, ...], tuple[ExampleT, ...]]:
    """Take the share `split.validation` of a training set for validation; return what is left and the share.

    Contexts and groups stay whole, and labels have their shares, as `split_examples` says.

    Raises:
        DataError: One of the two would be empty.
    """
    pieces = shuffle(_groups(examples, groups or {}), split.seed)
    cut = _cut_stratified if split.stratify else _cut
    left, taken = cut(pieces, round(len(examples) * (1 - split.validation)))
    kept, held_out = tuple(_flatten(left)), tuple(_flatten(taken))
    if not kept or not held_out:
        raise DataError(
            f"a share of {split.validation:g} of {len(examples)} training examples in {len(pieces)} groups "
            f"leaves {len(kept)} for training and {len(held_out)} for validation; both need at least one",
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


def _groups(examples: Sequence[ExampleT], groups: Mapping[str, str]) -> list[list[ExampleT]]:
    """Examples that stay together, by group or a question's context, in the order of their first ones."""
    first_of: dict[tuple[str, str], int] = {}
    roots = list(range(len(examples)))
    for index, example in enumerate(examples):
        for key in _ties(example, groups):
            # The earliest example stands for all that hang together, however long the chain of ties.
            one, other = sorted((_root(roots, first_of.setdefault(key, index)), _root(roots, index)))
            roots[other] = one
    found: dict[int, list[ExampleT]] = {}
    for index, example in enumerate(examples):
        found.setdefault(_root(roots, index), []).append(example)
    return list(found.values())


def _ties(example: Example, groups: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if isinstance(example, QuestionExample):
        yield "context", example.context
    if example.id in groups:
        yield "group", groups[example.id]


def _root(roots: list[int], index: int) -> int:
    while roots[index] != index:
        roots[index] = roots[roots[index]]
        index = roots[index]
    return index


def _cut(groups: Pieces[ExampleT], size: int) -> tuple[Pieces[ExampleT], Pieces[ExampleT]]:
    """Divide so that the first part holds as near to `size` items as whole groups allow."""
    sizes = [0]
    for group in groups:
        sizes.append(sizes[-1] + len(group))
    nearest = min(range(len(sizes)), key=lambda count: abs(sizes[count] - size))
    return groups[:nearest], groups[nearest:]


def _cut_stratified(pieces: Pieces[ExampleT], size: int) -> tuple[Pieces[ExampleT], Pieces[ExampleT]]:
    """Divide so that the first part holds `size` examples, and of each set of labels its share of them.

    Each gets its share rounded down; what is then missing goes to those that lost most by it, by the method
    of largest remainders, of equal ones to the first in the shuffled order. All is counted in integers, so
    that no rounding differs between machines.
    """
    strata: dict[tuple[str, ...], int] = Counter(labels_of(piece[0]) for piece in pieces)
    total = max(len(pieces), 1)
    sizes = {labels: number * size // total for labels, number in strata.items()}
    by_remainder = sorted(strata, key=lambda labels: -(strata[labels] * size % total))
    for labels in by_remainder[: size - sum(sizes.values())]:
        sizes[labels] += 1
    first: list[Sequence[ExampleT]] = []
    second: list[Sequence[ExampleT]] = []
    for piece in pieces:
        labels = labels_of(piece[0])
        sizes[labels] -= 1
        (first if sizes[labels] >= 0 else second).append(piece)
    return first, second


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

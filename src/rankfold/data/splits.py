"""A recipe's training, validation and test examples, from whichever sources it names."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rankfold.data.examples import Example, QuestionExample
from rankfold.data.readers import read_examples
from rankfold.data.split import hold_out, split_examples, take
from rankfold.errors import DataError
from rankfold.recipe.schema import Data, Recipe, Source


@dataclass(frozen=True)
class Splits:
    """The examples of each side, the labels in them, and what was left out: side → reason → count.

    Attributes:
        validation: What training evaluates along the way; empty where the recipe does not.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    dropped: Mapping[str, Mapping[str, int]]
    repaired: Mapping[str, Mapping[str, int]]


def read_splits(recipe: Recipe) -> Splits:
    """Read, divide and cut the data of a recipe.

    Raises:
        DataError: A source is missing, broken, empty, or too small to divide.
    """
    data = recipe.data
    if data.source is not None and not data.source.is_on_hub:
        splits = _read_one_file(data.source, data)
    else:
        splits = _read_two_sources(*_both(data), data)
    splits = _with_validation(splits, data) if recipe.train.eval_strategy != "no" else _without(splits)
    if recipe.evaluation.version_2_with_negative is False:
        splits = _answerable_only(splits)
    seed = data.split.seed
    return replace(
        splits,
        train=_first(splits.train, data.max_train_examples, seed),
        validation=_first(splits.validation, data.max_validation_examples, seed),
        test=_first(splits.test, data.max_test_examples, seed),
    )


def _read_one_file(source: Source, data: Data) -> Splits:
    read = read_examples(source, data.labels)
    sides = split_examples(read.examples, data.split)
    # Before the cut nobody knows which side a dropped entity would have been on.
    dropped, repaired = {"source": read.dropped}, {"source": read.repaired}
    return Splits(sides.train, sides.validation, sides.test, read.labels, dropped, repaired)


def _read_two_sources(train: Source, test: Source, data: Data) -> Splits:
    read_train = read_examples(train, data.labels)
    labels = data.labels or read_train.labels
    read_test = read_examples(test, labels, hub_split=test.test_split, demand_labels=False)
    return Splits(
        read_train.examples,
        (),
        read_test.examples,
        tuple(labels),
        {"train": read_train.dropped, "test": read_test.dropped},
        {"train": read_train.repaired, "test": read_test.repaired},
    )


def _both(data: Data) -> tuple[Source, Source]:
    """Where training and test examples are; one data set on the hub has a split for each."""
    train, test = data.source or data.train, data.source or data.test
    if train is None or test is None:
        raise DataError(
            "neither one source nor a training and a test set is named",
            where="data",
            remedy="Set data.source, or both data.train and data.test.",
        )
    return train, test


def _with_validation(splits: Splits, data: Data) -> Splits:
    """Read the validation set, or take its share from the training set where no cut has given it one."""
    source = data.validation
    if source is not None:
        read = read_examples(source, splits.labels, hub_split=source.test_split, demand_labels=False)
        return replace(
            splits,
            validation=read.examples,
            dropped={**splits.dropped, "validation": read.dropped},
            repaired={**splits.repaired, "validation": read.repaired},
        )
    if splits.validation:
        return splits
    train, validation = hold_out(splits.train, data.split.validation, data.split.seed)
    return replace(splits, train=train, validation=validation)


def _without(splits: Splits) -> Splits:
    """Leave the validation share unused: turning evaluation on and off trains on the same examples."""
    return replace(splits, validation=())


def _answerable_only(splits: Splits) -> Splits:
    """SQuAD v1.1 knows no unanswerable question: leave them out, and count them."""
    reason = "no answer, and version_2_with_negative is false"
    dropped = {side: Counter(counts) for side, counts in splits.dropped.items()}
    kept: dict[str, tuple[Example, ...]] = {}
    for side in ("train", "validation", "test"):
        examples: tuple[Example, ...] = getattr(splits, side)
        kept[side] = tuple(e for e in examples if not isinstance(e, QuestionExample) or e.answers)
        lost = len(examples) - len(kept[side])
        if lost:
            dropped.setdefault(side, Counter())[reason] += lost
    empty = [side for side, examples in kept.items() if getattr(splits, side) and not examples]
    if empty:
        raise DataError(
            f"no question of the {' and the '.join(empty)} set has an answer, and "
            "version_2_with_negative is false",
            where="evaluation.version_2_with_negative",
            remedy="Set it to true, or leave it out to go by the data.",
        )
    return replace(
        splits, train=kept["train"], validation=kept["validation"], test=kept["test"], dropped=dropped
    )


def _first(examples: tuple[Example, ...], limit: int | None, seed: int) -> tuple[Example, ...]:
    return examples if limit is None else take(examples, limit, seed)

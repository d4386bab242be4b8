"""A recipe's training and test examples, from whichever sources it names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankfold.data.examples import Example, QuestionExample
from rankfold.data.readers import read_examples
from rankfold.data.result import ReadResult
from rankfold.data.split import split_examples, take
from rankfold.errors import DataError
from rankfold.recipe.schema import Data, Recipe, Source


@dataclass(frozen=True)
class Splits:
    """Training and test examples, the labels in them, and what was left out: reason → count."""

    train: tuple[Example, ...]
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
    if data.source is not None:
        splits = _read_one_source(data.source, data)
    else:
        train, test = _both(data)
        read_train = read_examples(train, data.labels)
        labels = data.labels or read_train.labels
        read_test = read_examples(test, labels, hub_split=test.test_split, demand_labels=False)
        splits = _joined(read_train, read_test, labels)
    if recipe.evaluation.version_2_with_negative is False:
        splits = _answerable_only(splits)
    return Splits(
        _first(splits.train, data.max_train_examples, data.split.seed),
        _first(splits.test, data.max_test_examples, data.split.seed),
        splits.labels,
        splits.dropped,
        splits.repaired,
    )


def _read_one_source(source: Source, data: Data) -> Splits:
    if source.is_on_hub:
        train = read_examples(source, data.labels, hub_split=source.train_split)
        test = read_examples(source, data.labels, hub_split=source.test_split)
        return _joined(train, test, data.labels or train.labels)
    read = read_examples(source, data.labels)
    train_examples, test_examples = split_examples(read.examples, data.split)
    # Before the cut nobody knows which side a dropped entity would have been on.
    return Splits(
        train_examples, test_examples, read.labels, {"source": read.dropped}, {"source": read.repaired}
    )


def _both(data: Data) -> tuple[Source, Source]:
    if data.train is None or data.test is None:
        raise DataError(
            "neither one source nor a training and a test set is named",
            where="data",
            remedy="Set data.source, or both data.train and data.test.",
        )
    return data.train, data.test


def _joined(train: ReadResult[Example], test: ReadResult[Example], labels: Sequence[str]) -> Splits:
    return Splits(
        train.examples,
        test.examples,
        tuple(labels),
        {"train": train.dropped, "test": test.dropped},
        {"train": train.repaired, "test": test.repaired},
    )


def _answerable_only(splits: Splits) -> Splits:
    """SQuAD v1.1 knows no unanswerable question: leave them out, and count them."""
    reason = "no answer, and version_2_with_negative is false"
    dropped = {side: Counter(counts) for side, counts in splits.dropped.items()}
    kept = {}
    for side, examples in (("train", splits.train), ("test", splits.test)):
        kept[side] = tuple(e for e in examples if not isinstance(e, QuestionExample) or e.answers)
        lost = len(examples) - len(kept[side])
        if lost:
            dropped.setdefault(side, Counter())[reason] += lost
    empty = [side for side, examples in kept.items() if not examples]
    if empty:
        raise DataError(
            f"no question of the {' and the '.join(empty)} set has an answer, and "
            "version_2_with_negative is false",
            where="evaluation.version_2_with_negative",
            remedy="Set it to true, or leave it out to go by the data.",
        )
    return Splits(kept["train"], kept["test"], splits.labels, dropped, splits.repaired)


def _first(examples: tuple[Example, ...], limit: int | None, seed: int) -> tuple[Example, ...]:
    return examples if limit is None else take(examples, limit, seed)

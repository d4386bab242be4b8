"""A recipe's training, validation and test examples, from whichever sources it names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rankfold.data.cleaning import NO_ANSWER, TrainingCleaner, drop_empty, has_no_answer, held_out_contents
from rankfold.data.examples import Example
from rankfold.data.labelling import check_labels
from rankfold.data.mixing import MAIN
from rankfold.data.readers import ExampleOf, read_examples, refuse_rows
from rankfold.data.result import ReadResult, Tally
from rankfold.data.sides import Splits, Tallies, TrainingSet, nothing_left, weighted
from rankfold.data.split import hold_out, shuffle, split_examples, take
from rankfold.errors import DataError
from rankfold.recipe.schema import Data, Recipe, Source
from rankfold.task_facts import TABLES

Examples = tuple[Example, ...]


@dataclass(frozen=True)
class SideReader:
    """Reads the sources of a recipe, leaves out what is empty, and counts by side."""

    data: Data
    example_of: ExampleOf
    tallies: Tallies = field(default_factory=Tallies)

    def read(
        self,
        side: str,
        source: Source,
        labels: Sequence[str],
        *,
        hub_split: str | None = None,
        demand_labels: bool = False,
        group_by: str | None = None,
    ) -> ReadResult[Example]:
        """Errors as `read_examples`, and DataError where nothing but empty examples is there."""
        read = read_examples(
            source,
            labels,
            example_of=self.example_of,
            hub_split=hub_split,
            demand_labels=demand_labels,
            group_by=group_by,
        )
        dropped = self.tallies.drops(side)
        dropped.join(Tally.of(read.dropped, read.first))
        self.tallies.repairs(side).join(Tally.of(read.repaired, read.first))
        located = ((f"{source.path}, id {example.id}", example) for example in read.examples)
        kept = tuple(example for _, example in drop_empty(located, self.data.cleaning, dropped))
        if not kept:
            raise nothing_left(source.path, dropped)
        return replace(read, examples=kept)

    def held_out(self, side: str, source: Source, labels: Sequence[str]) -> Examples:
        """The examples of a source that is tested or validated on; `labels` are those of training.

        A row whose label nobody trained stays, and counts as wrong: without it the score would flatter.
        """
        wanted = self.data.labels if source.format in TABLES else labels
        return self.read(side, source, wanted, hub_split=source.test_split).examples


@dataclass(frozen=True)
class _Sides:
    """The sides before anything is mixed in; `groups` is what keeps training examples together."""

    train: Examples
    validation: Examples
    test: Examples
    labels: tuple[str, ...]
    groups: Mapping[str, str]


def read_splits(recipe: Recipe, example_of: ExampleOf = refuse_rows) -> Splits:
    """Read, clean, divide, mix and cut the data of a recipe.

    Raises:
        DataError: A source is missing, broken, empty, or too small to divide.
    """
    data, reader = recipe.data, SideReader(recipe.data, example_of)
    main = _read_main(reader)
    mixed = {name: reader.read(name, source, data.labels) for name, source in data.mixed_with.items()}
    sides = _sides(main, all_labels(data, [main, *mixed.values()]), reader)
    # Known before an unused share is left out: whether training evaluates along the way does not change
    # what it trains on.
    share = sides.validation
    sides = _with_validation(sides, reader) if validates(recipe) else replace(sides, validation=())
    if recipe.evaluation.version_2_with_negative is False:
        sides = _answerable_only(sides, reader.tallies)
    cleaner = training_cleaner(recipe, (*share, *sides.validation), sides.test)
    examples = {MAIN: sides.train, **{name: read.examples for name, read in mixed.items()}}
    sets = {name: _cleaned(cleaner, name, some, reader.tallies) for name, some in examples.items()}
    seed = data.split.seed
    return reader.tallies.splits(
        _limited(weighted(data, sets), data.max_train_examples, seed),
        first(sides.validation, data.max_validation_examples, seed),
        first(sides.test, data.max_test_examples, seed),
        sides.labels,
    )


def validates(recipe: Recipe) -> bool:
    """Whether training evaluates along the way."""
    return recipe.train.eval_strategy != "no"


def both_sources(data: Data) -> tuple[Source, Source]:
    """Where training and test examples are; one data set on the hub has a split for each."""
    train, test = data.source or data.train, data.source or data.test
    if train is None or test is None:
        raise DataError(
            "neither one source nor a training and a test set is named",
            where="data",
            remedy="Set data.source, or both data.train and data.test.",
        )
    return train, test


def training_cleaner(
    recipe: Recipe, validation: Iterable[Example], test: Iterable[Example]
) -> TrainingCleaner:
    """What leaves examples out of a recipe's training sets."""
    cleaning = recipe.data.cleaning
    held_out = held_out_contents(validation, test) if cleaning.drop_duplicates else {}
    return TrainingCleaner(cleaning, held_out, recipe.evaluation.version_2_with_negative is False)


def first(examples: Examples, limit: int | None, seed: int) -> Examples:
    """The first so many examples after a shuffle, or all as they are."""
    return examples if limit is None else take(examples, limit, seed)


def all_labels(data: Data, read: Sequence[ReadResult[Example]]) -> tuple[str, ...]:
    """The labels wanted, or those of all training sets; DataError where none has one that is wanted."""
    if data.labels and data.mixed_with:
        found = (name for one in read for name in one.found)
        check_labels(data.labels, found, "data.labels", "training example")
    return tuple(dict.fromkeys(label for one in read for label in one.labels))


def _read_main(reader: SideReader) -> ReadResult[Example]:
    """Read the training set, or the one source that is divided."""
    data = reader.data
    is_divided = data.source is not None and not data.source.is_on_hub
    # Before the cut nobody knows which side a dropped entity would have been on.
    side, source = ("source" if is_divided else MAIN), both_sources(data)[0]
    group_by = data.split.group_by if is_divided or data.split.validation else None
    # With others mixed in, a label may be in one of those alone.
    return reader.read(side, source, data.labels, demand_labels=not data.mixed_with, group_by=group_by)


def _sides(main: ReadResult[Example], labels: tuple[str, ...], reader: SideReader) -> _Sides:
    data = reader.data
    if data.source is not None and not data.source.is_on_hub:
        cut = split_examples(main.examples, data.split, main.groups)
        return _Sides(cut.train, cut.validation, cut.test, labels, main.groups)
    test = reader.held_out("test", both_sources(data)[1], labels)
    return _Sides(main.examples, (), test, labels, main.groups)


def _with_validation(sides: _Sides, reader: SideReader) -> _Sides:
    """Read the validation set, or take its share from the training set where no cut has given it one."""
    source = reader.data.validation
    if source is not None:
        return replace(sides, validation=reader.held_out("validation", source, sides.labels))
    if sides.validation:
        return sides
    train, validation = hold_out(sides.train, reader.data.split, sides.groups)
    return replace(sides, train=train, validation=validation)


def _answerable_only(sides: _Sides, tallies: Tallies) -> _Sides:
    """SQuAD v1.1 knows no unanswerable question: leave them out, and count them."""
    kept: dict[str, Examples] = {}
    for side in ("train", "validation", "test"):
        examples: Examples = getattr(sides, side)
        kept[side] = tuple(example for example in examples if not has_no_answer(example))
        tallies.drops(side).add(NO_ANSWER, number=len(examples) - len(kept[side]))
    empty = [side for side, examples in kept.items() if getattr(sides, side) and not examples]
    if empty:
        raise DataError(
            f"no question of the {' and the '.join(empty)} set has an answer, and "
            "version_2_with_negative is false",
            where="evaluation.version_2_with_negative",
            remedy="Set it to true, or leave it out to go by the data.",
        )
    return replace(sides, train=kept["train"], validation=kept["validation"], test=kept["test"])


def _cleaned(cleaner: TrainingCleaner, name: str, examples: Examples, tallies: Tallies) -> Examples:
    """What may be learned of a training set; DataError where that is nothing."""
    located = ((f"{name}, id {example.id}", example) for example in examples)
    dropped = tallies.drops(name)
    kept = tuple(example for _, example in cleaner.clean(located, dropped))
    if not kept:
        raise nothing_left(name, dropped)
    return kept


def _limited(sets: tuple[TrainingSet, ...], limit: int | None, seed: int) -> tuple[TrainingSet, ...]:
    """The first so many of all training examples after a shuffle, set by set."""
    if limit is None:
        return sets
    everything = [(index, example) for index, one in enumerate(sets) for example in one.examples]
    taken = shuffle(everything, seed)[:limit]
    return tuple(
        replace(one, examples=tuple(example for place, example in taken if place == index))
        for index, one in enumerate(sets)
    )

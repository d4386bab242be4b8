"""Combinations of settings in `data` that cannot work."""

import re
from collections.abc import Iterator

from rankfold.recipe.conflict import Conflict
from rankfold.recipe.entries import listed
from rankfold.recipe.same_data import is_same_data
from rankfold.recipe.schema import HUB_PREFIX, Cleaning, Data, Recipe, Source, Split
from rankfold.task_facts import TABLES, task_facts

_HUB_FORMATS = {"squad", "hub"}
_WHOLE_DOCUMENTS = ("json", "squad")
_HELD_OUT = ("data.test", "data.validation")
_TAKEN_NAMES = ("source", "train", "validation", "test")
"""What counts and reports call the sides."""


def data_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Find sources, shares, labels and formats that do not go together."""
    yield from _source_conflicts(recipe.data)
    yield from _split_conflicts(recipe.data)
    yield from _keeping_conflicts(recipe)
    yield from _mixing_conflicts(recipe.data)
    yield from _leak_conflicts(recipe.data)
    yield from _cleaning_conflicts(recipe.data.cleaning)
    yield from _streaming_conflicts(recipe)
    yield from _label_conflicts(recipe.data)
    yield from _format_conflicts(recipe)


def _sources(data: Data) -> dict[str, Source]:
    named = {side: getattr(data, side) for side in ("source", "train", "validation", "test")}
    mixed = {f"data.mixed_with.{name}": source for name, source in data.mixed_with.items()}
    return {f"data.{side}": source for side, source in named.items() if source} | mixed


def _source_conflicts(data: Data) -> Iterator[Conflict]:
    sources = _sources(data)
    # A validation set may stand beside either.
    trained_and_tested = [key for key in sources if key in ("data.source", "data.train", "data.test")]
    if trained_and_tested not in (["data.source"], ["data.train", "data.test"]):
        given = listed(trained_and_tested, "and") or "none of them"
        yield Conflict(
            (*trained_and_tested, "data"),
            f"give either data.source alone, or data.train and data.test; found {given}",
        )
    for key, source in sources.items():
        if source.path.removeprefix(HUB_PREFIX).strip() == "":
            yield Conflict((f"{key}.path",), "names no file; write a path, or hub:NAME")
        splits = (source.train_split, source.test_split)
        if not source.is_on_hub and splits != ("train", "validation"):
            yield Conflict(
                (f"{key}.train_split", f"{key}.test_split"),
                f"picks a split of a hub: data set, but {key}.path is a file; leave it out",
            )
        elif key in _HELD_OUT and source.train_split != "train":
            yield Conflict((f"{key}.train_split",), f"is not trained on; name its split in {key}.test_split")
        elif key != "data.source" and key not in _HELD_OUT and source.test_split != "validation":
            yield Conflict((f"{key}.test_split",), f"is trained on; name its split in {key}.train_split")


def _split_conflicts(data: Data) -> Iterator[Conflict]:
    split = data.split
    if data.source is not None and not data.source.is_on_hub:
        yield from _sum_conflicts(split)
    elif (split.train, split.test) == (Split().train, Split().test):
        return
    elif data.source is None:
        yield Conflict(("data.split",), "divides data.source, which is not given; leave its shares out")
    else:
        yield Conflict(
            ("data.split",),
            f"the data set {data.source.path} has splits of its own; leave the shares out, and choose "
            "with data.source.train_split and data.source.test_split",
        )


def _sum_conflicts(split: Split) -> Iterator[Conflict]:
    shares = {"train": split.train, "validation": split.validation, "test": split.test}
    given = {side: share for side, share in shares.items() if share}
    total = sum(given.values())
    if total > 1 + 1e-9:
        listing = listed([f"{side} {share}" for side, share in given.items()], "and")
        yield Conflict(
            tuple(f"data.split.{side}" for side in given),
            f"the shares {listing} add up to {total:g}; they may be at most 1 together",
        )


def _keeping_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """What says how examples are divided, where nothing is divided or it says two things."""
    data, split = recipe.data, recipe.data.split
    given = [f"data.split.{key}" for key in ("stratify", "group_by") if getattr(split, key)]
    divides = (data.source is not None and not data.source.is_on_hub) or split.validation
    if given and not divides:
        yield Conflict(
            tuple(given),
            f"says how data is divided, but nothing divides it; leave {listed(given, 'and')} out, or give "
            "data.split.validation a share",
        )
    if split.stratify and not task_facts(recipe.task).has_labels:
        yield Conflict(("data.split.stratify",), f"is for labels; {recipe.task} has none; leave it out")
    if len(given) > 1:
        yield Conflict(
            tuple(given),
            "cannot both hold: groups that stay together do not give every side the same labels; leave one "
            "of them out",
        )
    source = data.source or data.train
    if split.group_by and source is not None and source.format not in TABLES:
        fields = ("id", "question", "context") if source.format == "squad" else ("id", "text")
        if split.group_by not in fields:
            yield Conflict(
                ("data.split.group_by",),
                f"{split.group_by} is no field of {source.format}; use {listed(fields)}",
            )


def _mixing_conflicts(data: Data) -> Iterator[Conflict]:
    for name, source in data.mixed_with.items():
        key = f"data.mixed_with.{name}"
        if name in _TAKEN_NAMES or not re.fullmatch(r"[\w-]+", name):
            yield Conflict(
                (key,),
                f"{name!r} cannot name a training set; use letters, digits, - and _, but not "
                f"{listed(_TAKEN_NAMES)}",
            )
        # A source is divided, or on a hub has a split to test on: what is tested on would be trained on.
        for side in ("source", "test", "validation"):
            other: Source | None = getattr(data, side)
            if other and is_same_data(source, source.train_split, other, other.test_split):
                yield Conflict((key, f"data.{side}"), f"is the same data as data.{side}; train on other data")
    for side in ("test", "validation"):
        held_out: Source | None = getattr(data, side)
        if held_out and held_out.weight != 1:
            yield Conflict((f"data.{side}.weight",), "is for training sets; leave it out")


def _leak_conflicts(data: Data) -> Iterator[Conflict]:
    """Sets that are trained on and held out too; a divided file that is validated on is seen elsewhere."""
    source = data.source
    if source and source.is_on_hub and source.train_split == source.test_split:
        yield Conflict(
            ("data.source.test_split", "data.source.train_split"),
            f"both splits are {source.test_split}: the score would be of what was trained on; name two "
            "splits of the data set",
        )
    name, on = ("data.train", data.train) if data.train else ("data.source", source)
    for key, held_out in (("data.test", data.test), ("data.validation", data.validation)):
        if on is None or held_out is None or (name == "data.source" and not on.is_on_hub):
            continue
        if is_same_data(on, on.train_split, held_out, held_out.test_split):
            if key == "data.test":
                wrong = "the score would be of what was trained on"
                remedy = "name other data, or name this once, in data.source, which data.split divides"
            else:
                wrong = "the best checkpoint would be chosen on what was trained on"
                remedy = "name other data, or give data.split.validation a share"
            if on.is_on_hub:
                remedy = f"name another split in {key}.test_split"
            yield Conflict((key, name), f"is the same data as {name}: {wrong}; {remedy}")


def _cleaning_conflicts(cleaning: Cleaning) -> Iterator[Conflict]:
    longest = cleaning.max_characters
    if longest is not None and longest < cleaning.min_characters:
        yield Conflict(
            ("data.cleaning.min_characters", "data.cleaning.max_characters"),
            f"no text has at least {cleaning.min_characters} and at most {longest} characters; lower "
            "min_characters, or raise max_characters",
        )


def _streaming_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    data = recipe.data
    if not data.streaming:
        return
    if data.source is not None and not data.source.is_on_hub:
        yield Conflict(
            ("data.streaming", "data.source"),
            "reads the training set in pieces, which divides no source; name a data.train and a data.test",
        )
    if data.split.validation:
        yield Conflict(
            ("data.streaming", "data.split.validation"),
            "reads the training set in pieces, which takes no share from it; name a data.validation",
        )
    if data.max_train_examples and data.is_mixed:
        mixing = "data.mixed_with" if data.mixed_with else "a weight"
        yield Conflict(
            ("data.streaming", "data.max_train_examples"),
            f"takes the first examples of each file, so that {mixing} would count otherwise; leave "
            "max_train_examples out",
        )
    for key, source in _sources(data).items():
        if key not in _HELD_OUT and source.format in _WHOLE_DOCUMENTS:
            yield Conflict(
                ("data.streaming", f"{key}.format"),
                f"reads a piece at a time, but {source.format} is one document; write {key} as jsonl or "
                "parquet, or leave streaming out",
            )


def _label_conflicts(data: Data) -> Iterator[Conflict]:
    repeated = sorted({label for label in data.labels if data.labels.count(label) > 1})
    if repeated:
        yield Conflict(("data.labels",), f"names {', '.join(repeated)} more than once; name each once")
    if any(not label.strip() for label in data.labels):
        yield Conflict(("data.labels",), "has an empty label; remove it")


def _format_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    formats = task_facts(recipe.task).formats
    for key, source in _sources(recipe.data).items():
        if source.format not in formats:
            yield Conflict(
                (f"{key}.format", "task"),
                f"{source.format} does not fit the task {recipe.task}; use {listed(formats)}, or change task",
            )
        elif source.is_on_hub and source.format not in _HUB_FORMATS:
            yield Conflict(
                (f"{key}.path",),
                f"{source.path} cannot be read as {source.format}; from a hub only hub and squad can, "
                "so name a file",
            )
        elif source.format == "hub" and not source.is_on_hub:
            yield Conflict(
                (f"{key}.format",),
                f"is hub, but {key}.path is a file; write its format, or hub:NAME in {key}.path",
            )
        elif not source.has_header and source.format not in ("csv", "tsv"):
            yield Conflict(
                (f"{key}.has_header",), f"is for csv and tsv; {source.format} has none; leave it out"
            )
        elif source.columns and source.format not in TABLES:
            yield Conflict(
                (f"{key}.columns",), f"is for tables; {source.format} has fields of its own; leave it out"
            )

"""Combinations of settings in `data` that cannot work."""

from collections.abc import Iterator

from rankfold.recipe.conflict import Conflict
from rankfold.recipe.entries import listed
from rankfold.recipe.schema import HUB_PREFIX, Data, Recipe, Source, Split

_QA_FORMATS = {"squad"}
_HUB_FORMATS = {"squad"}


def data_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Find sources, shares, labels and formats that do not go together."""
    yield from _source_conflicts(recipe.data)
    yield from _split_conflicts(recipe.data)
    yield from _label_conflicts(recipe.data)
    yield from _format_conflicts(recipe)


def _sources(data: Data) -> dict[str, Source]:
    named = {side: getattr(data, side) for side in ("source", "train", "validation", "test")}
    return {f"data.{side}": source for side, source in named.items() if source}


def _source_conflicts(data: Data) -> Iterator[Conflict]:
    sources = _sources(data)
    # A validation set may stand beside either.
    trained_and_tested = [key for key in sources if key != "data.validation"]
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


def _label_conflicts(data: Data) -> Iterator[Conflict]:
    repeated = sorted({label for label in data.labels if data.labels.count(label) > 1})
    if repeated:
        yield Conflict(("data.labels",), f"names {', '.join(repeated)} more than once; name each once")
    if any(not label.strip() for label in data.labels):
        yield Conflict(("data.labels",), "has an empty label; remove it")


def _format_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    answers_questions = recipe.task == "extractive_qa"
    for key, source in _sources(recipe.data).items():
        if (source.format in _QA_FORMATS) != answers_questions:
            fitting = "squad" if answers_questions else "ccfbdci, spans or conll"
            yield Conflict(
                (f"{key}.format", "task"),
                f"{source.format} does not fit the task {recipe.task}; use {fitting}, or change task",
            )
        elif source.is_on_hub and source.format not in _HUB_FORMATS:
            yield Conflict(
                (f"{key}.path",),
                f"{source.path} cannot be read as {source.format}; from a hub only squad can, so name a file",
            )

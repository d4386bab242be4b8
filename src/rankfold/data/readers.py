"""One way in for every format: a recipe's source becomes examples."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from rankfold.data import ccfbdci, conll, hub, labelling, spans, squad, tabular
from rankfold.data.examples import Example
from rankfold.data.files import read_lines
from rankfold.data.labelling import NamedExample, label_entities
from rankfold.data.result import Notes, ReadResult
from rankfold.data.tables import count_rows, read_rows
from rankfold.errors import DataError
from rankfold.recipe.schema import Source
from rankfold.task_facts import TABLES

ExampleOf = Callable[[Mapping[str, Any], str], Example]
"""Makes an example of a table's row; the second argument says where the row is."""


def refuse_rows(row: Mapping[str, Any], where: str) -> Example:
    """Stands where no table is read."""
    raise ValueError(f"nothing says what example to make of {where}")


def read_examples(
    source: Source,
    labels: Sequence[str] = (),
    *,
    example_of: ExampleOf = refuse_rows,
    hub_split: str | None = None,
    demand_labels: bool = True,
    group_by: str | None = None,
) -> ReadResult[Example]:
    """Read a data set.

    Args:
        source: Where it is, and its format.
        labels: Labels wanted; none wants all. Questions, for one, have none.
        example_of: Makes the examples of a table.
        hub_split: For a `hub:` source, the split to read; empty for its `train_split`.
        demand_labels: Whether a wanted label that no example has is an error. Off for a test set,
            which need not hold every label.
        group_by: Column of a table, or field of the examples, that says what is kept together.

    Raises:
        DataError: The data set is missing, broken or empty; says where and what to do.
    """
    if source.format in TABLES:
        rows = read_rows(source, hub_split=hub_split)
        return tabular.read(
            rows, example_of, labels, path=source.path, demand_labels=demand_labels, group_by=group_by
        )
    read = _read_format(source, labels, hub_split=hub_split, demand_labels=demand_labels)
    if group_by is None:
        return read
    return replace(read, groups={example.id: _group(example, group_by) for example in read.examples})


def iterate_examples(
    source: Source,
    labels: Sequence[str],
    notes: Notes,
    *,
    example_of: ExampleOf = refuse_rows,
) -> Iterator[tuple[str, Example]]:
    """Yield where each training example is, and the example, without keeping any.

    What `read_examples` looks for in the whole data set is left to the caller: ids that come twice, labels
    that no example has, and that there is an example at all.

    Raises:
        DataError: The data set is missing or broken, or is one document that has to be read as a whole.
    """
    if source.format in TABLES:
        rows = read_rows(source)
        pairs = tabular.iterate(rows, example_of, labels, notes)
        return ((row.where, example) for row, example in pairs)
    if source.format == "squad":
        raise DataError("SQuAD's JSON is one document, which cannot be read in pieces", where=source.path)
    repaired = Counter[str]()
    named = _named_examples(source.format, Path(source.path), repaired)
    return ((found.where, example) for found, example in labelling.iterate(named, labels, notes, repaired))


def count_examples(source: Source) -> int | None:
    """Return how many examples a file has before any is dropped; None for the hub.

    Raises:
        DataError: The file is missing or unreadable.
    """
    if source.is_on_hub:
        return None
    path = Path(source.path)
    if source.format == "squad":
        return squad.count(path)
    if source.format in TABLES:
        return count_rows(source)
    if source.format == "conll":
        return sum(1 for _ in conll.read_sentences(path))
    return sum(1 for _, line in read_lines(path) if line.strip())


def _read_format(
    source: Source, labels: Sequence[str], *, hub_split: str | None, demand_labels: bool
) -> ReadResult[Example]:
    """Read a format with fields of its own."""
    if source.is_on_hub:
        return hub.read_hub(source, hub_split or source.train_split)
    path = Path(source.path)
    if source.format == "squad":
        return squad.read(path)
    repaired: Counter[str] = Counter()
    examples = _named_examples(source.format, path, repaired)
    return label_entities(examples, labels, path=source.path, repaired=repaired, demand_labels=demand_labels)


def _named_examples(format_name: str, path: Path, repaired: Counter[str]) -> Iterator[NamedExample]:
    if format_name == "ccfbdci":
        return ccfbdci.parse(path, repaired)
    if format_name == "conll":
        return conll.parse(path, repaired)
    return spans.parse(path)


def _group(example: Example, name: str) -> str:
    names = [field.name for field in fields(cast(Any, example))]
    if name not in names:
        raise DataError(
            f"the examples have no field {name!r}; they have {', '.join(names)}",
            where="data.split.group_by",
            remedy="Name one of these; only tables have columns of their own.",
        )
    return json.dumps(getattr(example, name), ensure_ascii=False, default=str)

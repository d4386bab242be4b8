"""From the rows of a table to the examples that a recipe wants."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rankfold.data.examples import Example, TextExample
from rankfold.data.labelling import check_labels, empty
from rankfold.data.result import Notes, ReadResult
from rankfold.data.tables import TableRow, column_value, is_absent
from rankfold.errors import DataError


def read(
    rows: Iterable[TableRow],
    example_of: Callable[[Mapping[str, Any], str], Example],
    wanted: Sequence[str],
    *,
    path: str,
    demand_labels: bool = True,
    group_by: str | None = None,
) -> ReadResult[Example]:
    """Make an example of each row, and drop those that have labels but no wanted one.

    Raises:
        DataError: A row is not what the task takes, an id comes twice, there are no rows, or, unless
            `demand_labels` is off, no row has a wanted label.
    """
    notes = Notes()
    examples: dict[str, Example] = {}
    for row, example in iterate(rows, example_of, wanted, notes):
        if example.id in examples:
            raise DataError(
                f"the id {example.id!r} comes twice",
                where=row.where,
                remedy="Make every `id` unique, or leave `id` out to use the rows' numbers.",
            )
        examples[example.id] = example
        if group_by is not None:
            notes.groups[example.id] = _group(row, group_by)
    if demand_labels or not examples:
        check_labels(wanted, notes.names, path, "example")
    if not examples:
        raise empty(path)
    return ReadResult.of(examples.values(), wanted, notes)


def iterate(
    rows: Iterable[TableRow],
    example_of: Callable[[Mapping[str, Any], str], Example],
    wanted: Sequence[str],
    notes: Notes,
) -> Iterator[tuple[TableRow, Example]]:
    """Yield each row with its example, those left out that have labels but no wanted one.

    Raises:
        DataError: A row is not what the task takes.
    """
    for row in rows:
        example = example_of(row.values, row.where)
        if isinstance(example, TextExample):
            labels = example.labels
            notes.labels |= dict.fromkeys(labels)
            notes.names |= dict.fromkeys(labels)
            kept = tuple(label for label in labels if not wanted or label in wanted)
            if labels and not kept:
                notes.dropped.add("no wanted label", row.where)
                continue
            if len(kept) < len(labels):
                notes.dropped.add("label_not_wanted", row.where, len(labels) - len(kept))
                example = replace(example, labels=kept)
        yield row, example


def _group(row: TableRow, column: str) -> str:
    """What a row is kept together by; a row without a value stays by itself."""
    value = column_value(column, row)
    return json.dumps([row.where] if is_absent(value) else value, ensure_ascii=False, default=str)

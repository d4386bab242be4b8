"""Files whose rows are examples: JSON lines, JSON, CSV, TSV, Parquet and data sets on the hub."""

import csv
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankfold.data import hub
from rankfold.data.files import read_lines, read_text
from rankfold.data.jsonl import as_object, check_text, parse_json, read_objects, shorten
from rankfold.errors import DataError
from rankfold.recipe.schema import Source

PARQUET_ROWS = 1024
"""Rows of a Parquet file in memory at once."""

MAX_FIELD_CHARACTERS = 2**31 - 1
"""The most that csv's limit can be on every platform."""

EACH = "[]"
_STEP = re.compile(r"\[\]|[^.\[\]]+")
"""A step of the way into a row: each element of a list, or a name."""


@dataclass(frozen=True)
class TableRow:
    """A row by the names of its columns, and its place in the file or data set."""

    where: str
    values: Mapping[str, Any]


def read_rows(source: Source, *, hub_split: str | None = None) -> Iterator[TableRow]:
    """Yield the rows of a table, their columns named as the recipe's `columns` says.

    A row without an `id`, or with an empty one, gets its number, counted from 1.

    Raises:
        DataError: The file is missing or broken, or has not the columns that the recipe names.
    """
    for number, row in enumerate(_rows(source, hub_split or source.train_split), start=1):
        check_characters(row.values, row.where)
        named = {field: column_value(column, row) for field, column in source.columns.items()}
        values = {**row.values, **named}
        yield TableRow(
            row.where, {**values, "id": str(number) if is_absent(values.get("id")) else values["id"]}
        )


def count_rows(source: Source) -> int:
    """Return how many rows a file has, without making anything of them; errors as `read_rows`."""
    path = Path(source.path)
    if source.format == "jsonl":
        return sum(1 for _, line in read_lines(path) if line.strip())
    if source.format == "parquet":
        with _readable_parquet(path):
            return int(_open_parquet(path).metadata.num_rows)
    return sum(1 for _ in _rows(source, source.train_split))


def check_characters(value: Any, where: str) -> None:
    """Refuse half a surrogate pair, which JSON can escape but no UTF-8 file can hold; DataError."""
    if isinstance(value, str):
        check_text(value, "a value", where)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if isinstance(part, str):
                check_text(part, f"`{key}`", where)
            else:
                check_characters(part, where)
    elif isinstance(value, list | tuple):
        for part in value:
            check_characters(part, where)


def is_absent(value: Any) -> bool:
    """Whether a cell holds nothing: tables say so by an empty text or NaN where they have no null."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _rows(source: Source, split: str) -> Iterator[TableRow]:
    if source.is_on_hub:
        return itertools.starmap(TableRow, hub.iterate_rows(source.path, split))
    path = Path(source.path)
    if source.format == "jsonl":
        return (TableRow(line.where, line.record) for line in read_objects(path))
    if source.format == "json":
        return _json(path)
    if source.format == "parquet":
        return _parquet(path)
    return _separated(path, "\t" if source.format == "tsv" else ",", has_header=source.has_header)


def _json(path: Path) -> Iterator[TableRow]:
    found = parse_json(read_text(path), path)
    if not isinstance(found, list):
        raise DataError(
            f"must be a list of objects; found {shorten(found)}",
            where=str(path),
            remedy="Write [{…}, {…}], or one object a line and `format: jsonl`.",
        )
    for index, value in enumerate(found):
        where = f"{path}[{index}]"
        yield TableRow(where, as_object(value, where))


def _parquet(path: Path) -> Iterator[TableRow]:
    number = itertools.count()
    with _readable_parquet(path):
        for batch in _open_parquet(path).iter_batches(PARQUET_ROWS):
            for values in batch.to_pylist():
                yield TableRow(f"{path}, row {next(number)}", values)


def _open_parquet(path: Path) -> Any:
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(path)


@contextmanager
def _readable_parquet(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot be read as Parquet: {error}",
            where=str(path),
            remedy="Check `path` and `format` in the recipe, or write the file again.",
        ) from error


def _separated(path: Path, delimiter: str, *, has_header: bool) -> Iterator[TableRow]:
    """CSV with quotes, as RFC 4180 has it; in TSV a quote is a character like any other."""
    # A quoted field may go over lines, which the reader puts together.
    lines = (f"{line}\n" for _, line in read_lines(path))
    # Its own limit of 131,072 characters is less than a long document has.
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    if delimiter == ",":
        rows = csv.reader(lines, strict=True)
    else:
        rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    try:
        records = ((f"{path}:{rows.line_num}", values) for values in rows)
        yield from _named(records, has_header=has_header)
    except csv.Error as error:
        raise DataError(
            f"a line cannot be divided into columns: {error}",
            where=f"{path}:{rows.line_num}",
            remedy="Write the file with a CSV writer, one that quotes separators and doubles quotes.",
        ) from error


def _named(records: Iterator[tuple[str, list[str]]], *, has_header: bool) -> Iterator[TableRow]:
    """Give each line's values the names of their columns; blank lines are passed over."""
    names: list[str] | None = None
    for where, values in records:
        # In a file of one column an empty text is written "", which is no blank line.
        if not values or (len(names or ()) != 1 and not "".join(values).strip() and len(values) == 1):
            continue
        if names is None:
            names = values if has_header else [str(index) for index in range(len(values))]
            _check_names(names, where)
            if has_header:
                continue
        if len(values) != len(names):
            raise DataError(
                f"{len(values)} columns; there are {len(names)} in the lines before: {shorten(names)}",
                where=where,
                remedy="Give every line the same columns, and quote those that hold the separator.",
            )
        yield TableRow(where, dict(zip(names, values, strict=True)))


def _check_names(names: Sequence[str], where: str) -> None:
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise DataError(
            f"the header names {shorten(repeated[0])} more than once; it has {shorten(list(names))}",
            where=where,
            remedy="Give each column a name of its own, or set `has_header: false` if there is no header.",
        )


def column_value(column: str, row: TableRow) -> Any:
    """The value that an entry of a recipe's `columns` stands for.

    What an object of a row does not have is None; a column that the table does not have is an error.

    Raises:
        DataError: There is no such column, or a list where an object is or the other way round.
    """
    if column.startswith("*"):
        return column[1:]
    if column in row.values:
        return row.values[column]
    name, *_ = _STEP.findall(column) or [column]
    if name not in row.values:
        raise DataError(
            f"there is no column {column!r}; there are {', '.join(row.values)}",
            where=row.where,
            remedy="Correct `columns` in the recipe.",
        )
    return _follow(row.values[name], _STEP.findall(column)[1:], column, row.where)


def _follow(value: Any, steps: Sequence[str], column: str, where: str) -> Any:
    """Go into objects by name and into each element of a list by `[]`."""
    if not steps or value is None:
        return value
    step, *rest = steps
    wanted = list if step == EACH else Mapping
    if not isinstance(value, wanted):
        raise DataError(
            f"`{column}` goes into {'a list' if step == EACH else f'an object for `{step}`'}; "
            f"found {shorten(value)}",
            where=where,
            remedy="In `columns`, a dot goes into an object and `[]` into each element of a list.",
        )
    if isinstance(value, Mapping):
        return _follow(value.get(step), rest, column, where)
    found = [_follow(each, rest, column, where) for each in value]
    # Lists in lists are one list: `paragraphs[].sentences[].text` are texts.
    return [part for parts in found for part in parts or ()] if EACH in rest else found

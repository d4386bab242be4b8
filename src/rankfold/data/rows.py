"""A row of a table as an example of a task."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from rankfold.data.examples import Example
from rankfold.data.jsonl import shorten
from rankfold.errors import DataError

ExampleT = TypeVar("ExampleT", bound=Example)


def example_of_row(kind: type[ExampleT], row: Mapping[str, Any], where: str) -> ExampleT:
    """Make an example of a row whose columns have the names of its fields; other columns are left alone.

    Numbers become text where text is wanted, since an id or a label may be one in a table, and a single value
    becomes a list of one where a list is wanted. NaN stands for nothing, and so does an empty text where the
    field may be left out: tables have no other way to say so.

    Raises:
        DataError: A field is missing, or its value is not what it has to be; names `where`.
    """
    types = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in fields(cast(Any, kind)):
        value = row.get(field.name)
        is_needed = field.default is MISSING and field.default_factory is MISSING
        is_there = value is not None and not _is_nan(value) and (is_needed or value != "")
        if is_there:
            values[field.name] = _as_wanted(value, types[field.name])
        elif is_needed:
            raise _missing(field.name, row, where)
    try:
        example: ExampleT = _adapter(kind).validate_python(values)
        _check_finite(example, where)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}; found {shorten(first['input'])}",
            where=where,
            remedy="Correct the row, or name another column in `columns`.",
        ) from error
    return example


@cache
def _adapter(kind: type[ExampleT]) -> TypeAdapter[ExampleT]:
    return TypeAdapter(kind)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _check_finite(example: Example, where: str) -> None:
    for name, value in vars(example).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise DataError(
                f"{name}: must be a finite number; found {value}", where=where, remedy="Correct the row."
            )


def _as_wanted(value: Any, kind: Any) -> Any:
    """A value as its field's type has it, where a table cannot say it so; what does not fit stays."""
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        values = value if isinstance(value, list | tuple) else [value]
        return [_as_wanted(each, arguments[0]) for each in values]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and (kind is str or str in arguments) else value


def _missing(name: str, row: Mapping[str, Any], where: str) -> DataError:
    columns = ", ".join(column for column in row if column != "id") or "no columns"
    return DataError(
        f"there is no {name}; the row has {columns}",
        where=where,
        remedy=f"Name it so, or let the recipe say which column it is: columns: {{{name}: COLUMN}}.",
    )

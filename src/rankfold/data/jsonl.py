"""JSON records from files, with every mistake in them located."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rankfold.data.files import read_lines
from rankfold.errors import DataError

T = TypeVar("T", str, int, list[Any], dict[str, Any])

_KINDS: dict[type, str] = {str: "a string", int: "an integer", list: "a list", dict: "an object"}


class JsonLine(NamedTuple):
    """One object of a JSON lines file: its line number from 1, `path:line`, and the object."""

    number: int
    where: str
    record: dict[str, Any]


def read_objects(path: Path) -> Iterator[JsonLine]:
    """Yield the objects of a JSON lines file; blank lines are passed over.

    Raises:
        DataError: A line is not JSON or not an object, or the file cannot be read.
    """
    for number, line in read_lines(path):
        if line.strip():
            where = f"{path}:{number}"
            yield JsonLine(number, where, as_object(parse_json(line, path, number), where))


def parse_json(text: str, path: Path, first_line: int = 1) -> Any:
    """Parse the JSON that starts on a file's line `first_line`; a DataError says on which it breaks."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"broken JSON at column {error.colno}: {error.msg}; found {shorten(text[error.pos :])}",
            where=f"{path}:{first_line + error.lineno - 1}",
            remedy="Write the file with a JSON writer, one that escapes quotes inside strings.",
        ) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or lists nested thousands deep.
        raise DataError(
            f"JSON that cannot be read: {error}",
            where=f"{path}:{first_line}",
            remedy="Remove the record; no data set needs such a value.",
        ) from error


def field(record: Mapping[str, Any], key: str, kind: type[T], where: str) -> T:
    """Return `record[key]`, which must be there and of type `kind`; DataError otherwise."""
    if key not in record:
        keys = ", ".join(f"`{name}`" for name in record) or "none"
        raise DataError(
            f"`{key}` is missing; the keys here are: {keys}",
            where=where,
            remedy=f"Add `{key}`, {_KINDS[kind]}, or choose another `format` in the recipe.",
        )
    value = record[key]
    # bool is a subclass of int, but `true` is no offset.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(
            f"`{key}` must be {_KINDS[kind]}; found {shorten(value)}",
            where=where,
            remedy=f"Make `{key}` {_KINDS[kind]}, or choose another `format` in the recipe.",
        )
    if isinstance(value, str):
        check_text(value, f"`{key}`", where)
    return value


def objects(record: Mapping[str, Any], key: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each object of the list `record[key]` is, and the object; DataError otherwise."""
    for index, value in enumerate(field(record, key, list, where)):
        place = f"{where}, {key}[{index}]"
        yield place, as_object(value, place)


def shorten(value: Any) -> str:
    """Return a value as JSON of at most about 60 characters, for an error message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def check_text(value: str, what: str, where: str) -> None:
    """Refuse half a surrogate pair, which JSON can escape but no UTF-8 file can hold."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{what} holds half a character, \\u{ord(value[error.start]):04x}, at {error.start}",
            where=where,
            remedy="Remove it, or write both halves of the surrogate pair.",
        ) from error


def as_object(value: Any, where: str) -> dict[str, Any]:
    """Return the value, which must be a JSON object; DataError otherwise."""
    if isinstance(value, dict):
        return value
    raise DataError(
        f"must be a JSON object; found {shorten(value)}",
        where=where,
        remedy='Write objects: {"key": …}.',
    )

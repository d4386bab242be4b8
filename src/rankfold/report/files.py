"""Reading the JSON that stages write; a damaged file is named in the error."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rankfold.errors import OperationalError


@contextmanager
def written_by_a_stage(path: Path) -> Iterator[None]:
    """Say which file it was when a value inside is missing or of another kind than the stage writes.

    Raises:
        OperationalError: In place of the KeyError, TypeError or ValueError met inside the block.
    """
    try:
        yield
    except KeyError as error:
        raise _damaged(f"{error} is missing from this file", str(path)) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(f"a value in this file is not of the expected kind: {error}", str(path)) from error


def read_text(path: Path) -> str | None:
    """The text of a file, or None where there is none.

    Raises:
        OperationalError: The file is not UTF-8.
    """
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(f"not UTF-8: {error}", str(path)) from error


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is no file.

    Raises:
        OperationalError: The file is not one JSON object.
    """
    text = read_text(path)
    return None if text is None else _parse(text, str(path))


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of JSON lines; none where there is no file.

    Raises:
        OperationalError: A line is not a JSON object.
    """
    for number, line in enumerate((read_text(path) or "").split("\n"), start=1):
        if line.strip():
            yield _parse(line, f"{path}:{number}")


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise _damaged(f"not valid JSON: {error}", where) from error
    if not isinstance(value, dict):
        raise _damaged(f"a JSON object is expected here, {type(value).__name__} was found", where)
    return value


def _damaged(message: str, where: str) -> OperationalError:
    return OperationalError(message, where=where, remedy="Run the stage that writes this file again.")

"""Text files as lines: compressed or not, with or without a byte order mark."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from rankfold.errors import DataError


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line's number, counted from 1, and its text without the line end.

    Raises:
        DataError: The file is missing, a folder, unreadable, or not UTF-8.
    """
    if not path.exists():
        raise DataError(
            "no such file",
            where=str(path),
            remedy="Check `path` in the recipe; a relative path starts at the recipe's folder.",
        )
    if path.is_dir():
        raise DataError("this is a folder", where=str(path), remedy="Name one file in it.")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, decode_line(line, path, number)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot be read: {error}",
            where=str(path),
            remedy="Check the file's permissions, or copy it again.",
        ) from error


def read_text(path: Path) -> str:
    """Return the whole text of a file; errors as `read_lines`."""
    return "\n".join(line for _, line in read_lines(path))


def decode_line(line: bytes, path: Path, number: int) -> str:
    """The text of line `number`, from 1, without its end; DataError where it is not UTF-8."""
    encoding = "utf-8-sig" if number == 1 else "utf-8"
    try:
        return line.decode(encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8: byte {line[error.start]:#04x} at position {error.start} of the line",
            where=f"{path}:{number}",
            remedy="Convert the file to UTF-8, for example with `iconv -t UTF-8`.",
        ) from error

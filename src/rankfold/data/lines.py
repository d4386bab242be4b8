"""Lines of text with the place they come from: of a file, or of standard input."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rankfold.data.files import decode_line, read_lines


class Line(NamedTuple):
    """A line without its end, its number from 1, and the file it is in."""

    path: Path
    number: int
    text: str

    @property
    def where(self) -> str:
        return f"{self.path}:{self.number}"


def lines_of_file(path: Path) -> Iterator[Line]:
    """Yield the lines of a file; errors as `read_lines`."""
    return (Line(path, number, text) for number, text in read_lines(path))


def lines_of_stream(stream: Iterable[bytes], name: str) -> Iterator[Line]:
    """Yield the lines of a stream as they come; `name` stands for its path.

    Raises:
        DataError: A line is not UTF-8.
    """
    path = Path(name)
    return (Line(path, number, decode_line(line, path, number)) for number, line in enumerate(stream, 1))

"""Examples on disk between stages: JSON lines that read back as they were."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from rankfold import atomic
from rankfold.data.examples import Example

ExampleT = TypeVar("ExampleT", bound=Example)


def write_examples(path: Path, examples: Iterable[Example], kind: type[Example]) -> int:
    """Write one example a line, each as it comes; return how many there were."""
    number = 0
    with atomic.file(path) as file:
        for line in example_lines(examples, kind):
            file.write(line)
            number += 1
    return number


def example_lines(examples: Iterable[Example], kind: type[Example]) -> Iterator[bytes]:
    """The line of each example, with its end."""
    adapter = TypeAdapter(kind)
    for example in examples:
        yield adapter.dump_json(example) + b"\n"


def iterate_stored(path: Path, kind: type[ExampleT]) -> Iterator[ExampleT]:
    """Read back what `write_examples` wrote, a line at a time."""
    adapter = TypeAdapter(kind)
    with path.open("rb") as file:
        for line in file:
            yield adapter.validate_json(line)

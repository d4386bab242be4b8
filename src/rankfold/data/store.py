"""Examples on disk between stages: JSON lines that read back as they were."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from rankfold import atomic
from rankfold.data.examples import Example

ExampleT = TypeVar("ExampleT", bound=Example)


def write_examples(path: Path, examples: Sequence[Example], kind: type[Example]) -> None:
    """Write one example a line."""
    adapter = TypeAdapter(kind)
    atomic.write_bytes(path, b"".join(adapter.dump_json(example) + b"\n" for example in examples))


def iterate_stored(path: Path, kind: type[ExampleT]) -> Iterator[ExampleT]:
    """Read back what `write_examples` wrote, a line at a time."""
    adapter = TypeAdapter(kind)
    with path.open("rb") as file:
        for line in file:
            yield adapter.validate_json(line)

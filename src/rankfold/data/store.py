"""Examples on disk between stages: JSON lines that read back as they were."""

from collections.abc import Sequence
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


def read_stored(path: Path, kind: type[ExampleT]) -> list[ExampleT]:
    """Read back what `write_examples` wrote."""
    adapter = TypeAdapter(kind)
    with path.open("rb") as file:
        return [adapter.validate_json(line) for line in file]

"""The format `spans`: JSON lines with character offsets.

One line: `{"id"?: …, "text": …, "entities": [{"start", "end" (exclusive), "label"}]}`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankfold.data.jsonl import JsonLine, field, objects, read_objects
from rankfold.data.labelling import NamedEntity, NamedExample


def parse(path: Path) -> Iterator[NamedExample]:
    """Yield the examples of a file; an example without an id gets its line number.

    Raises:
        DataError: A line that is not of this format.
    """
    for line in read_objects(path):
        text = field(line.record, "text", str, line.where)
        entities = tuple(
            _entity(entity, place) for place, entity in objects(line.record, "entities", line.where)
        )
        yield NamedExample(_id(line), line.where, text, entities)


def _id(line: JsonLine) -> str:
    return field(line.record, "id", str, line.where) if "id" in line.record else str(line.number)


def _entity(entity: dict[str, Any], place: str) -> NamedEntity:
    return NamedEntity(
        field(entity, "start", int, place),
        field(entity, "end", int, place),
        (field(entity, "label", str, place),),
    )

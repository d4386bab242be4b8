"""The format `ccfbdci`: JSON lines of the CCF BDCI 2020 entity data, with synonyms for each label.

One line: `{"text": …, "entities": [{"start_idx", "end_idx" (exclusive), "entity_text",
"entity_label", "entity_names": […]}]}`.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankfold.data.jsonl import JsonLine, field, objects, read_objects, shorten
from rankfold.data.labelling import NamedEntity, NamedExample
from rankfold.data.locate import nearest_occurrence
from rankfold.errors import DataError


def parse(path: Path, repaired: Counter[str]) -> Iterator[NamedExample]:
    """Yield the examples of a file, their ids the line numbers; counts repairs in `repaired`.

    Raises:
        DataError: A line that is not of this format, or an entity that is not in its text.
    """
    for line in read_objects(path):
        text = field(line.record, "text", str, line.where)
        entities = tuple(_entities(line, text, repaired))
        yield NamedExample(str(line.number), line.where, text, entities)


def _entities(line: JsonLine, text: str, repaired: Counter[str]) -> Iterator[NamedEntity]:
    located = [(place, entity, _offsets(entity, place)) for place, entity in objects(*_list(line))]
    previous_end = 0
    for place, entity, (start, end) in sorted(located, key=lambda item: item[2]):
        surface = field(entity, "entity_text", str, place)
        if text[start:end] != surface:
            start = _find(text, surface, start, previous_end, place)
            end = start + len(surface)
            repaired["offsets_moved_to_entity_text"] += 1
        yield NamedEntity(start, end, _names(entity, place))
        previous_end = end


def _list(line: JsonLine) -> tuple[dict[str, Any], str, str]:
    return line.record, "entities", line.where


def _offsets(entity: dict[str, Any], place: str) -> tuple[int, int]:
    return field(entity, "start_idx", int, place), field(entity, "end_idx", int, place)


def _find(text: str, surface: str, start: int, previous_end: int, place: str) -> int:
    # Some published texts hold a stray "(12,32)" behind an entity that the offsets were counted
    # without: all that follows is then too far left, so a mention may not be taken twice.
    found = nearest_occurrence(text, surface, start, lowest=previous_end) if surface else None
    if found is None:
        raise DataError(
            f"`entity_text` {shorten(surface)} is not in the text where `start_idx` {start} says, "
            "nor anywhere after the entity before it",
            where=place,
            remedy="Correct the offsets (characters from 0, the end exclusive) or `entity_text`.",
        )
    return found


def _names(entity: dict[str, Any], place: str) -> tuple[str, ...]:
    names = field(entity, "entity_names", list, place)
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise DataError(
            f"`entity_names` must be a list of strings; found {shorten(wrong[0])} in it",
            where=place,
            remedy="Write every name as a string.",
        )
    return (field(entity, "entity_label", str, place), *names)

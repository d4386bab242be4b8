"""The format spans, and what holds for entities of every format."""

import json
from pathlib import Path
from typing import Any

import pytest

from rankfold.data.examples import EntityExample, Span
from rankfold.data.readers import read_examples
from rankfold.errors import DataError
from rankfold.recipe.schema import Source


def write(folder: Path, *records: dict[str, Any]) -> Source:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return Source(path=str(path), format="spans")


def entity(start: int, end: int, label: str) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label}


def error_of(source: Source, labels: tuple[str, ...] = ()) -> str:
    with pytest.raises(DataError) as caught:
        read_examples(source, labels)
    return str(caught.value).replace(source.path, "data.jsonl")


def test_entities_are_ordered_by_position(tmp_path: Path) -> None:
    source = write(
        tmp_path, {"id": "a", "text": "Ann met Bob", "entities": [entity(8, 11, "P"), entity(0, 3, "P")]}
    )
    assert read_examples(source).examples == (
        EntityExample("a", "Ann met Bob", (Span(0, 3, "P"), Span(8, 11, "P"))),
    )


def test_nested_entities_are_kept_and_doubled_ones_are_counted(tmp_path: Path) -> None:
    entities = [entity(0, 3, "P"), entity(0, 7, "P"), entity(0, 3, "P"), entity(0, 3, "Q")]
    result = read_examples(write(tmp_path, {"text": "Ann Lee", "entities": entities}))
    assert result.examples == (
        EntityExample("1", "Ann Lee", (Span(0, 3, "P"), Span(0, 3, "Q"), Span(0, 7, "P"))),
    )
    assert result.dropped == {"duplicate_entity": 1}


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 2), (3, 2), (0, 4), (4, 5)])
def test_offsets_outside_the_text_are_an_error(tmp_path: Path, start: int, end: int) -> None:
    source = write(
        tmp_path, {"text": "ok", "entities": []}, {"text": "Ann", "entities": [entity(start, end, "P")]}
    )
    assert error_of(source) == (
        f"data.jsonl:2: an entity from character {start} to {end} does not fit a text of 3 characters\n"
        "  → Offsets count characters (not bytes) from 0; the end is exclusive."
    )


def test_a_missing_offset_names_the_entity(tmp_path: Path) -> None:
    source = write(tmp_path, {"text": "Ann", "entities": [entity(0, 3, "P"), {"start": 0, "label": "P"}]})
    assert error_of(source) == (
        "data.jsonl:1, entities[1]: `end` is missing; the keys here are: `start`, `label`\n"
        "  → Add `end`, an integer, or choose another `format` in the recipe."
    )


def test_an_id_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    source = write(
        tmp_path, {"id": "a", "text": "x", "entities": []}, {"id": "a", "text": "y", "entities": []}
    )
    assert error_of(source) == (
        "data.jsonl:2: the id 'a' comes twice\n"
        "  → Make every `id` unique, or leave `id` out to use line numbers."
    )


def test_an_empty_data_set_is_an_error(tmp_path: Path) -> None:
    assert error_of(write(tmp_path)) == (
        "data.jsonl: no examples in this data set\n"
        "  → Check that it is the right file and that `format` in the recipe fits it."
    )


def test_a_wanted_label_that_nothing_has_is_an_error_naming_those_that_are_there(tmp_path: Path) -> None:
    entities = [entity(0, 3, "person"), entity(4, 7, "place")]
    source = write(tmp_path, {"text": "Ann Ulm", "entities": entities})
    assert error_of(source, ("person", "city", "river")) == (
        "data.jsonl: no entity has the label city, river; the labels here are: person, place\n"
        "  → Choose `data.labels` in the recipe from the labels that are here."
    )


def test_a_wanted_label_may_be_absent_where_it_is_not_demanded(tmp_path: Path) -> None:
    source = write(tmp_path, {"text": "Ann", "entities": [entity(0, 3, "person")]})
    result = read_examples(source, ("person", "city"), demand_labels=False)
    assert result.labels == ("person", "city")

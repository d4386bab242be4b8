"""The format ccfbdci: synonyms for labels, and offsets that miss their text."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rankfold.data.examples import EntityExample, Span
from rankfold.data.readers import read_examples
from rankfold.errors import DataError
from rankfold.recipe.schema import Source

GPE = ["地缘政治实体", "地理实体"]
PER = ["人名", "姓名"]


def entity(start: int, end: int, text: str, label: str, names: list[str]) -> dict[str, Any]:
    keys = ("start_idx", "end_idx", "entity_text", "entity_label", "entity_names")
    return dict(zip(keys, (start, end, text, label, names), strict=True))


def write(folder: Path, *records: dict[str, Any]) -> Source:
    path = folder / "data.jsonl"
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8"
    )
    return Source(path=str(path), format="ccfbdci")


def test_an_entity_gets_the_wanted_label_among_its_names(tmp_path: Path) -> None:
    entities = [entity(0, 2, "北京", "GPE", GPE), entity(4, 6, "王明", "PER", PER)]
    source = write(tmp_path, {"text": "北京市长王明", "entities": entities})
    result = read_examples(source, ["PER", "地理实体"])
    assert result.examples == (
        EntityExample("1", "北京市长王明", (Span(0, 2, "地理实体"), Span(4, 6, "PER"))),
    )
    assert result.labels == ("PER", "地理实体")
    assert result.dropped == {}


def test_the_first_wanted_label_wins_where_an_entity_has_two(tmp_path: Path) -> None:
    source = write(tmp_path, {"text": "北京", "entities": [entity(0, 2, "北京", "GPE", GPE)]})
    assert read_examples(source, ["地理实体", "GPE"], demand_labels=False).examples == (
        EntityExample("1", "北京", (Span(0, 2, "地理实体"),)),
    )


def test_an_entity_without_a_wanted_label_is_dropped_and_never_given_the_one_before(
    tmp_path: Path,
) -> None:
    entities = [entity(4, 6, "王明", "PER", PER), entity(0, 2, "北京", "GPE", GPE)]
    source = write(tmp_path, {"text": "北京市长王明", "entities": entities})
    result = read_examples(source, ["人名"])
    assert result.examples == (EntityExample("1", "北京市长王明", (Span(4, 6, "人名"),)),)
    assert result.dropped == {"label_not_wanted": 1}


def test_with_nothing_wanted_the_labels_of_the_file_are_kept_as_they_appear(tmp_path: Path) -> None:
    entities = [entity(4, 6, "王明", "PER", PER), entity(0, 2, "北京", "GPE", GPE)]
    source = write(tmp_path, {"text": "北京市长王明", "entities": entities})
    result = read_examples(source)
    assert result.labels == ("GPE", "PER")
    assert result.dropped == {}


def test_ids_are_the_numbers_of_the_lines(tmp_path: Path) -> None:
    source = write(tmp_path, {"text": "一", "entities": []}, {"text": "二", "entities": []})
    assert [example.id for example in read_examples(source).examples] == ["1", "2"]


def test_offsets_counted_without_a_stray_note_move_to_the_text_of_the_entities(tmp_path: Path) -> None:
    text = "美国(1,2)台湾与台湾"
    entities = [
        entity(0, 2, "美国(1,2)", "GPE", GPE),
        entity(2, 4, "台湾", "GPE", GPE),
        entity(5, 7, "台湾", "GPE", GPE),
    ]
    result = read_examples(write(tmp_path, {"text": text, "entities": entities}))
    assert isinstance(result.examples[0], EntityExample)
    assert result.examples[0].entities == (Span(0, 7, "GPE"), Span(7, 9, "GPE"), Span(10, 12, "GPE"))
    assert result.repaired == {"offsets_moved_to_entity_text": 3}


def test_inclusive_ends_are_put_right_by_the_entity_text(tmp_path: Path) -> None:
    source = write(tmp_path, {"text": "在北京", "entities": [entity(1, 2, "北京", "GPE", GPE)]})
    assert read_examples(source).examples == (EntityExample("1", "在北京", (Span(1, 3, "GPE"),)),)


def test_an_entity_that_is_not_in_its_text_is_an_error(tmp_path: Path) -> None:
    source = write(tmp_path, {"text": "在北京", "entities": [entity(1, 3, "上海", "GPE", GPE)]})
    with pytest.raises(DataError) as caught:
        read_examples(source)
    assert str(caught.value) == (
        f'{source.path}:1, entities[0]: `entity_text` "上海" is not in the text where `start_idx` 1 '
        "says, nor anywhere after the entity before it\n"
        "  → Correct the offsets (characters from 0, the end exclusive) or `entity_text`."
    )


def test_a_name_that_is_no_string_is_an_error(tmp_path: Path) -> None:
    wrong: list[Any] = ["地点", 3]
    source = write(tmp_path, {"text": "北京", "entities": [entity(0, 2, "北京", "GPE", wrong)]})
    with pytest.raises(DataError) as caught:
        read_examples(source)
    assert str(caught.value) == (
        f"{source.path}:1, entities[0]: `entity_names` must be a list of strings; found 3 in it\n"
        "  → Write every name as a string."
    )


def test_the_published_file_is_read_whole(shared_data: Path) -> None:
    source = Source(path=str(shared_data / "ccfbdci" / "ccfbdci.jsonl.gz"), format="ccfbdci")
    result = read_examples(source, ["地点", "人名", "地理实体", "组织"])
    assert len(result.examples) == 15_724
    assert sum(len(example.entities) for example in entity_examples(result.examples)) == 12_581
    assert result.dropped == {}
    assert result.repaired == {"offsets_moved_to_entity_text": 50}


def test_every_entity_of_the_published_file_reads_as_its_text_says(shared_data: Path) -> None:
    path = shared_data / "ccfbdci" / "ccfbdci.jsonl.gz"
    result = read_examples(Source(path=str(path), format="ccfbdci"))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line, example in zip(file, entity_examples(result.examples), strict=True):
            gold = [item["entity_text"] for item in json.loads(line)["entities"]]
            assert [example.text[span.start : span.end] for span in example.entities] == gold


def entity_examples(examples: tuple[object, ...]) -> list[EntityExample]:
    return [example for example in examples if isinstance(example, EntityExample)]

"""JSON lines: every mistake is located."""

from pathlib import Path

import pytest

from rankfold.data.jsonl import field, objects, read_objects
from rankfold.errors import DataError


def write(folder: Path, text: str) -> Path:
    path = folder / "data.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def test_objects_come_with_their_line_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": 1}\n\n  \n{"a": 2}\n')
    assert list(read_objects(path)) == [(1, f"{path}:1", {"a": 1}), (4, f"{path}:4", {"a": 2})]


def test_broken_json_is_located_by_line_and_column(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": 1}\n{"a": "he said "no""}\n')
    with pytest.raises(DataError) as caught:
        list(read_objects(path))
    assert str(caught.value) == (
        f'{path}:2: broken JSON at column 17: Expecting \',\' delimiter; found "no\\"\\"}}"\n'
        "  → Write the file with a JSON writer, one that escapes quotes inside strings."
    )


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": ' + "1" * 5000 + "}"], ids=["nested", "digits"])
def test_json_that_python_refuses_is_the_users_error_too(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, line)
    with pytest.raises(DataError, match="JSON that cannot be read: ") as caught:
        list(read_objects(path))
    assert caught.value.where == f"{path}:1"


def test_a_line_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, '["text", "entities"]\n')
    with pytest.raises(DataError) as caught:
        list(read_objects(path))
    assert str(caught.value) == (
        f'{path}:1: must be a JSON object; found ["text", "entities"]\n  → Write objects: {{"key": …}}.'
    )


def test_a_missing_key_is_named_beside_those_that_are_there() -> None:
    with pytest.raises(DataError) as caught:
        field({"sentence": "x", "tags": []}, "text", str, "data.jsonl:3")
    assert str(caught.value) == (
        "data.jsonl:3: `text` is missing; the keys here are: `sentence`, `tags`\n"
        "  → Add `text`, a string, or choose another `format` in the recipe."
    )


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (3, str, "`key` must be a string; found 3"),
        ("3", int, '`key` must be an integer; found "3"'),
        (True, int, "`key` must be an integer; found true"),
        (1.5, int, "`key` must be an integer; found 1.5"),
        (None, list, "`key` must be a list; found null"),
        (["x" * 99], dict, '`key` must be an object; found ["' + "x" * 55 + "…"),
    ],
)
def test_a_wrong_type_shows_the_value_and_what_is_allowed(value: object, kind: type, message: str) -> None:
    with pytest.raises(DataError) as caught:
        field({"key": value}, "key", kind, "data.jsonl:3")
    assert caught.value.message == message
    assert caught.value.where == "data.jsonl:3"


def test_half_a_surrogate_pair_is_refused_because_no_file_can_hold_it() -> None:
    with pytest.raises(DataError) as caught:
        field({"text": "ab\ud83d"}, "text", str, "data.jsonl:3")
    assert caught.value.message == "`text` holds half a character, \\ud83d, at 2"


def test_an_object_in_a_list_is_located_by_its_index() -> None:
    record = {"entities": [{"start": 1}, 7]}
    places = objects(record, "entities", "data.jsonl:3")
    assert next(places) == ("data.jsonl:3, entities[0]", {"start": 1})
    with pytest.raises(DataError) as caught:
        next(places)
    assert caught.value.where == "data.jsonl:3, entities[1]"
    assert caught.value.message == "must be a JSON object; found 7"

"""Scalars are those of YAML 1.2, by libyaml and by Python alone."""

from typing import Any

import pytest
import yaml

from rankfold.recipe.entries import Entry, Place, Problem
from rankfold.recipe.yaml_reader import core_loader, read_yaml

LOADERS = [core_loader(yaml.SafeLoader)]
if hasattr(yaml, "CSafeLoader"):
    LOADERS.append(core_loader(yaml.CSafeLoader))


def locate(line: int) -> Place:
    return Place("recipe.yaml", line)


def read(text: str, loader: type[Any] = LOADERS[-1]) -> Entry:
    problems: list[Problem] = []
    entry = read_yaml(text, locate, problems, loader=loader)
    assert problems == []
    assert entry is not None
    return entry


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-2.", -2.0),
        ("12", 12),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("2024-01-31", "2024-01-31"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0b101", "0b101"),
        ('"1e-4"', "1e-4"),
        ("'true'", "true"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("!!str 12", "12"),
        ("!!float 12", 12.0),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text: str, value: object, loader: type[Any]) -> None:
    found = read(f"key: {text}", loader).plain()["key"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "9223372036854775808", "9" * 5000])
def test_a_number_that_json_or_a_tensor_cannot_hold_is_a_problem(text: str, loader: type[Any]) -> None:
    problems: list[Problem] = []
    read_yaml(f"key: {text}", locate, problems, loader=loader)
    assert [problem.location for problem in problems] == [("key",)]


@pytest.mark.parametrize("loader", LOADERS)
def test_every_entry_knows_its_line(loader: type[Any]) -> None:
    entry = read("# comment\na: 1\nb:\n  c:\n  - x\n\n  - y\n", loader)
    lines = {
        location: entry.nearest(location).place.line
        for location in [("a",), ("b",), ("b", "c"), ("b", "c", 0), ("b", "c", 1)]
    }
    assert lines == {("a",): 2, ("b",): 3, ("b", "c"): 4, ("b", "c", 0): 5, ("b", "c", 1): 7}


def test_an_alias_repeats_its_anchor() -> None:
    text = "train: &here {nodes: 2}\nevaluate: *here\n"
    assert read(text).plain() == {"train": {"nodes": 2}, "evaluate": {"nodes": 2}}


def test_a_merge_key_in_quotes_is_an_ordinary_key() -> None:
    assert read('"<<": 1\n').plain() == {"<<": 1}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("text", ["!secret x", "!!python/name:os.system ''", "!!binary aGk=", "!!set {a}"])
def test_other_tags_are_a_problem_and_build_nothing(text: str, loader: type[Any]) -> None:
    problems: list[Problem] = []
    entry = read_yaml(f"key: {text}", locate, problems, loader=loader)
    assert "is not supported" in problems[0].message
    assert entry is not None
    assert entry.plain() == {"key": None}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "line"), [("a: [1,\nb: 2\n", 2), ("a: b: c", 1), ("a:\n\t- b", 2), ("a: *x", 1), ("a: \x01", 1)]
)
def test_broken_yaml_is_a_problem_at_its_line(text: str, line: int, loader: type[Any]) -> None:
    problems: list[Problem] = []
    assert read_yaml(text, locate, problems, loader=loader) is None
    assert [problem.place.line for problem in problems] == [line]
    assert problems[0].message.startswith("is not valid YAML: ")

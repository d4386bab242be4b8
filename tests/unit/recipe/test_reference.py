"""The generated documents are current, and editors agree with loading."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from unit.recipe.samples import QWEN_NER, TINY

from rankfold.recipe import reference
from rankfold.recipe.describe import key_paths
from rankfold.recipe.suggest import EXPLAINED, RENAMED
from rankfold.recipe.yaml_reader import core_loader


def faults(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(reference.recipe_schema())
    values: Any = yaml.load(text, Loader=core_loader(yaml.SafeLoader))  # noqa: S506
    return [error.message for error in validator.iter_errors(values)]


def test_the_documents_in_the_repository_are_current(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    code = reference.main(["--check"])
    assert (code, capsys.readouterr().out) == (0, "")


def test_documents_are_written_once_and_found_stale_when_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    capsys.readouterr()
    assert reference.main([]) == 0
    assert capsys.readouterr().out == ""
    (folder / "docs/recipe.md").write_text("old")
    assert reference.main(["--check"]) == 1
    expected = "docs/recipe.md is out of date; run python -m rankfold.recipe.reference\n"
    assert capsys.readouterr().out == expected


def test_the_schema_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(reference.recipe_schema())


@pytest.mark.parametrize(
    "text",
    [
        TINY,
        QWEN_NER,
        f"extends: base.yaml\n{TINY}",
        "extends: [a.yaml, b.yaml]\nmodel: {revision: main}\n",
        f"{TINY}train:\n",
    ],
)
def test_an_editor_accepts_what_loads(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "name: a\n",
        f"{TINY}sed: 1\n",
        f"{TINY}train: {{learning_rate: fast}}\n",
        f"{TINY}extends: 1\n",
        f"{TINY}distributed: {{strategy: zero4}}\n",
    ],
)
def test_an_editor_marks_what_does_not_load(text: str) -> None:
    assert faults(text) != []


def test_the_reference_names_every_key_with_its_meaning() -> None:
    text = reference.recipe_reference()
    for path in (*key_paths(), ("extends",)):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{path[-1]}` |"))
        assert all(cell.strip() for cell in row.replace("\\|", "").strip("|").split("|"))


def test_suggestions_lead_to_keys_that_exist() -> None:
    paths = {".".join(path) for path in key_paths()}
    leaves = {path.rpartition(".")[2] for path in paths}
    assert {target for target in RENAMED.values() if target not in paths | leaves} == set()
    assert set(RENAMED) & set(EXPLAINED) == set()

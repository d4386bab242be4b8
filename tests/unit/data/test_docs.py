"""The examples of docs/data.md are recipes."""

import re
from pathlib import Path

import pytest
import yaml

from rankfold.recipe.checks import conflicts
from rankfold.recipe.schema import Recipe


def test_every_example_of_the_documentation_is_a_recipe(repository: Path) -> None:
    text = (repository / "docs" / "data.md").read_text(encoding="utf-8")
    examples = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    assert len(examples) >= 7
    for example in examples:
        values = {"name": "example", "model": {"name_or_path": "some/model"}, **example}
        recipe = Recipe.model_validate(values, strict=False)
        found = [conflict.message for conflict in conflicts(recipe)]
        assert not found, example


def test_the_conversion_of_clinc150_works(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (repository / "docs" / "data.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("data_full.json").write_text('{"train": [["a, b", "x"]], "test": [["c", "y"]]}')
    exec(code, {})  # noqa: S102 (our own page)
    assert Path("train.csv").read_bytes() == b'text,labels\r\n"a, b",x\r\n'

"""A working directory that holds recipes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from unit.recipe.samples import QWEN_NER, TINY, write

from rankfold.recipe.load import LoadedRecipe, load_recipe

LoadTiny = Callable[..., LoadedRecipe]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load_tiny(folder: Path) -> LoadTiny:
    """Load `recipe.yaml`: the tiny recipe with more text behind it, some overrides over it."""

    def load(more: str = "", *overrides: str) -> LoadedRecipe:
        path = folder / "recipe.yaml"
        path.write_text(TINY + more, encoding="utf-8")
        return load_recipe(path, overrides)

    return load


@pytest.fixture
def qwen(folder: Path) -> LoadedRecipe:
    return load_recipe(write(folder / "recipes/qwen_ner.yaml", QWEN_NER))

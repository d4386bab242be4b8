"""The way back: from a loaded recipe to YAML and to a hash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.recipe.samples import write

from rankfold.recipe.load import LoadedRecipe, load_recipe, recipe_sha256, resolved_yaml
from rankfold.recipe.schema import Recipe

LoadTiny = Callable[..., LoadedRecipe]


def test_the_resolved_recipe_loads_to_an_equal_one_from_anywhere(qwen: LoadedRecipe, folder: Path) -> None:
    again = load_recipe(write(folder / "runs/1/recipe.yaml", resolved_yaml(qwen)))
    assert again.recipe == qwen.recipe
    assert recipe_sha256(again.recipe) == recipe_sha256(qwen.recipe)


TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    [
        "no",
        "1e-4",
        "0o17",
        "~",
        "2024-01-31",
        "on",
        "1_000",
        "",
        " x",
        "a: b",
        "# x",
        "<<",
        "{text}",
        "é\u2028",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | TEXT
FINITE = SCALARS.filter(lambda value: value not in (float("inf"), float("-inf")))
# Only what DeepSpeed has: text, numbers, truth, lists and mappings in mappings are among it.
NAMES = st.fixed_dictionaries({"names": st.lists(TEXT, max_size=3)})
ZERO = st.fixed_dictionaries({}, optional={"leaf_module": NAMES, "overlap_comm": st.none() | st.booleans()})
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "log_level": TEXT,
        "steps_per_print": st.integers(-(2**62), 2**62),
        "gradient_predivide_factor": st.floats(allow_nan=False, allow_infinity=False),
        "zero_optimization": ZERO,
    },
)


@given(config=st.dictionaries(TEXT, FINITE, max_size=4), deepspeed=SETTINGS)
def test_whatever_a_recipe_holds_survives_the_way_to_yaml_and_back(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any], deepspeed: dict[str, Any]
) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "a",
            "task": "generative_ner",
            "model": {"name_or_path": "m", "config": config},
            "data": {"source": {"path": "/a", "format": "spans"}},
            "distributed": {"strategy": "zero1", "deepspeed": deepspeed},
        }
    )
    path = tmp_path_factory.getbasetemp() / "survives.yaml"
    path.write_text(resolved_yaml(LoadedRecipe(recipe, {}, (), path)), encoding="utf-8")
    assert load_recipe(path).recipe == recipe


def test_the_hash_depends_on_values_and_not_on_how_they_were_written(load_tiny: LoadTiny) -> None:
    written = load_tiny("train: {learning_rate: 1e-4, num_train_epochs: 2}\n").recipe
    otherwise = load_tiny("train:\n  num_train_epochs: 2.0\n", "train.learning_rate=0.0001").recipe
    different = load_tiny("train: {learning_rate: 1e-4, num_train_epochs: 3}\n").recipe
    assert recipe_sha256(written) == recipe_sha256(otherwise)
    assert recipe_sha256(written) != recipe_sha256(different)
    assert len(recipe_sha256(written)) == 64

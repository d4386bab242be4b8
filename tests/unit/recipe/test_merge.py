"""Laws of laying one layer over another."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.recipe.samples import TINY, write

from rankfold.recipe.entries import Entry, Place
from rankfold.recipe.layers import merge
from rankfold.recipe.load import load_recipe

TREES = st.recursive(
    st.integers(0, 5) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def entry_of(value: Any) -> Entry:
    place = Place("recipe.yaml", 1)
    if isinstance(value, dict):
        return Entry(place, {key: entry_of(inner) for key, inner in value.items()})
    return Entry(place, [entry_of(inner) for inner in value] if isinstance(value, list) else value)


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {leaf: inner for key in value for leaf, inner in leaves(value[key], (*path, key)).items()}


@given(st.lists(TREES, min_size=2, max_size=4))
def test_the_last_layer_that_sets_a_value_wins(layers: list[Any]) -> None:
    merged = entry_of(layers[0])
    for layer in layers[1:]:
        merged = merge(merged, entry_of(layer))
    found = leaves(merged.plain())
    for path, value in leaves(layers[-1]).items():
        assert found[path] == value


@given(TREES)
def test_a_layer_over_itself_changes_nothing(layer: Any) -> None:
    assert merge(entry_of(layer), entry_of(layer)).plain() == layer


@given(
    st.lists(st.tuples(st.sampled_from(["seed", "data.max_length", "train.save_steps"]), st.integers(1, 99)))
)
def test_the_last_override_of_a_key_wins(
    tmp_path_factory: pytest.TempPathFactory, settings: list[tuple[str, int]]
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "overridden.yaml", TINY)
    loaded = load_recipe(path, [f"{key}={value}" for key, value in settings])
    for key, value in dict(settings).items():
        assert loaded.sources[key] == f"command line: {key}={value}"
    recipe = loaded.recipe
    found = {
        "seed": recipe.seed,
        "data.max_length": recipe.data.max_length,
        "train.save_steps": recipe.train.save_steps,
    }
    assert found == found | dict(settings)

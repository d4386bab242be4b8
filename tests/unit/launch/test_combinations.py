"""Overrides with several values become combinations; everything else stays one value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.combinations import combinations, split_at_commas
from rankfold.errors import RecipeError

VALUES = ("1e-4", "[a, b]", "{x: 1, y: [2, 3]}", "'a, b'", '"say \\"a, b\\""', "it's", "'it''s, so'", "null")


@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=5), st.sampled_from([",", ", "]))
def test_values_joined_by_commas_come_apart_again(values: list[str], comma: str) -> None:
    assert [part.strip() for part in split_at_commas(comma.join(values))] == values


def test_every_combination_comes_once_with_the_last_key_changing_fastest() -> None:
    found = combinations(["train.learning_rate=1e-4,3e-4", "seed=7", "model.adapter.r=8, 16"])
    assert [one.overrides for one in found] == [
        ("train.learning_rate=1e-4", "seed=7", "model.adapter.r=8"),
        ("train.learning_rate=1e-4", "seed=7", "model.adapter.r=16"),
        ("train.learning_rate=3e-4", "seed=7", "model.adapter.r=8"),
        ("train.learning_rate=3e-4", "seed=7", "model.adapter.r=16"),
    ]
    assert str(found[1]) == "train.learning_rate=1e-4 model.adapter.r=16"


@pytest.mark.parametrize(
    "override",
    [
        "data.labels=[人名, 地点]",
        "model.adapter={method: lora, r: 8}",
        "name='a, b'",
        "prompt.system=Find people, places and {labels}",
        "prompt.user=See [1], [2]: {text}",
        "data.labels=[a, b",
        "seed=1",
    ],
)
def test_what_is_one_value_stays_as_it_was_typed(override: str) -> None:
    assert [one.overrides for one in combinations([override])] == [(override,)]


def test_texts_with_commas_are_several_values_where_each_is_quoted() -> None:
    found = combinations(['prompt.system="People, in {labels}", "Places, in {labels}"'])
    assert [one.overrides[0] for one in found] == [
        'prompt.system="People, in {labels}"',
        'prompt.system="Places, in {labels}"',
    ]
    assert len(combinations(["prompt.language=en,zh"])) == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=1,"], "one of its values is empty"),
        (["seed=1,2,1"], "one of its values is given twice"),
        (["seed=1,2", "seed=3"], "seed is set twice"),
    ],
)
def test_values_that_make_no_sense_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        combinations(overrides)

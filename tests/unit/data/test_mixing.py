"""Mixing: how often examples come, with ids of their own."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import DocumentExample
from rankfold.data.mixing import Weighted, choose

SEEDS = st.integers(0, 5)


def documents(number: int) -> list[DocumentExample]:
    return [DocumentExample(str(index), f"text {index}") for index in range(number)]


@given(number=st.integers(0, 60), share=st.floats(0.01, 0.99), seed=SEEDS)
def test_a_share_is_chosen_in_order_and_is_exact_but_for_rounding(
    number: int, share: float, seed: int
) -> None:
    chosen = list(choose(range(number), share, seed))
    assert chosen == sorted(set(chosen))
    assert math.floor(number * share - 1e-9) <= len(chosen) <= math.ceil(number * share + 1e-9)
    assert chosen == list(choose(iter(range(number)), share, seed))


def test_which_are_chosen_depends_on_the_seed_and_each_may_be() -> None:
    picks = [tuple(choose(range(4), 0.5, seed)) for seed in range(40)]
    assert {pick for picked in picks for pick in picked} == {0, 1, 2, 3}


@given(number=st.integers(1, 30), weight=st.floats(0.1, 4), seed=SEEDS)
def test_a_weight_is_how_often_an_example_comes(number: int, weight: float, seed: int) -> None:
    examples = list(Weighted(documents(number), "faq", weight, seed))
    times = Counter(getattr(example, "text", None) for example in examples)
    assert all(math.floor(weight) <= times[f"text {index}"] <= math.ceil(weight) for index in range(number))
    assert abs(len(examples) - number * weight) <= 1
    assert len({example.id for example in examples}) == len(examples)


@given(
    weights=st.tuples(st.floats(0.5, 3), st.floats(0.5, 3)),
    ids=st.lists(st.sampled_from(["1", "b:1", "b#2:1", "a:1", "a"]), unique=True, min_size=1),
)
def test_ids_are_unique_over_all_sets_whatever_they_were(
    weights: tuple[float, float], ids: list[str]
) -> None:
    examples = [DocumentExample(one, "text") for one in ids]
    sets = [Weighted(examples, name, weight, 1) for name, weight in zip("ab", weights, strict=True)]
    found = [example.id for one in sets for example in one]
    assert len(set(found)) == len(found)


def test_a_set_can_be_iterated_over_again() -> None:
    weighted = Weighted(documents(5), "faq", 1.5, 3)
    assert list(weighted) == list(weighted)
    assert [example.id for example in weighted][:2] == ["faq:0", "faq:1"]

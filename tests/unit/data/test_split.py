"""Splits: a partition, the same everywhere, with no context on both sides."""

from collections import Counter
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Answer, EntityExample, Example, QuestionExample, Span, TextExample
from rankfold.data.split import Sides, hold_out, shuffle, split_examples, take
from rankfold.errors import DataError
from rankfold.recipe.schema import Split

ExampleT = TypeVar("ExampleT", bound=Example)


def texts(count: int) -> list[EntityExample]:
    return [EntityExample(str(index), f"text {index}", ()) for index in range(count)]


def questions(contexts: list[int]) -> list[QuestionExample]:
    return [
        QuestionExample(str(index), "?", f"context {context}", (Answer("c", 0),))
        for index, context in enumerate(contexts)
    ]


# The order of the first ten numbers of random.Random(42), from 0.025 (second) to 0.892 (seventh).
def test_a_seed_gives_these_sides_on_every_machine_and_python() -> None:
    sides = split_examples(texts(10), Split(train=0.7, test=0.3, seed=42))
    assert [example.id for example in sides.train] == ["1", "9", "7", "3", "2", "8", "0"]
    assert [example.id for example in sides.test] == ["5", "4", "6"]
    assert sides.validation == ()


def test_a_validation_set_is_cut_from_the_end_of_what_would_be_trained_on() -> None:
    sides = split_examples(texts(10), Split(train=0.5, validation=0.2, test=0.3, seed=42))
    assert [example.id for example in sides.train] == ["1", "9", "7", "3", "2"]
    assert [example.id for example in sides.validation] == ["8", "0"]
    assert [example.id for example in sides.test] == ["5", "4", "6"]


def test_another_seed_gives_other_sides() -> None:
    first, second = (split_examples(texts(100), Split(seed=seed)).test for seed in (1, 2))
    assert first != second


@given(count=st.integers(2, 60), share=st.floats(0.05, 0.95), seed=st.integers(0, 5))
def test_the_sides_are_a_partition_of_exact_sizes(count: int, share: float, seed: int) -> None:
    examples = texts(count)
    if round(count * share) in (0, count):
        with pytest.raises(DataError):
            split_examples(examples, Split(train=share, test=1 - share, seed=seed))
        return
    sides = split_examples(examples, Split(train=share, test=1 - share, seed=seed))
    assert len(sides.train) == round(count * share)
    assert sorted(everything(sides), key=lambda example: int(example.id)) == examples


def test_shares_below_one_leave_the_rest_out() -> None:
    sides = split_examples(texts(10), Split(train=0.5, validation=0.1, test=0.2))
    assert (len(sides.train), len(sides.validation), len(sides.test)) == (5, 1, 2)
    assert len(set(everything(sides))) == 8


def everything(sides: Sides[ExampleT]) -> list[ExampleT]:
    return [*sides.train, *sides.validation, *sides.test]


@given(contexts=st.lists(st.integers(0, 8), min_size=2, max_size=40), seed=st.integers(0, 5))
def test_no_context_is_on_two_sides_and_no_question_is_lost(contexts: list[int], seed: int) -> None:
    examples = questions(contexts)
    split = Split(train=0.5, validation=0.25, test=0.25, seed=seed)
    try:
        sides = split_examples(examples, split)
    except DataError:
        largest = max(contexts.count(context) for context in contexts)
        assert len(contexts) < 4 or largest >= len(contexts) / 4
        return
    contexts_of = [{e.context for e in side} for side in (sides.train, sides.validation, sides.test)]
    assert sum(map(len, contexts_of)) == len(set.union(*contexts_of))
    assert sorted(everything(sides), key=lambda example: int(example.id)) == examples


@given(
    contexts=st.lists(st.integers(0, 30), min_size=8, max_size=40),
    validation=st.integers(1, 7),
    unused=st.integers(0, 4),
    seed=st.integers(0, 5),
)
def test_what_goes_to_validation_comes_from_training_and_the_test_set_stays(
    contexts: list[int], validation: int, unused: int, seed: int
) -> None:
    examples = questions(contexts)
    test = (8 - unused) / 16  # sixteenths add up exactly
    try:
        without = split_examples(examples, Split(train=0.5, test=test, seed=seed))
        held_out = validation / 16
        split = Split(train=0.5 - held_out, validation=held_out, test=test, seed=seed)
        sides = split_examples(examples, split)
    except DataError:
        return
    assert sides.test == without.test
    assert sides.train + sides.validation == without.train


def test_sides_of_questions_are_as_near_to_their_shares_as_contexts_allow() -> None:
    examples = questions([context for context in range(100) for _ in range(5)])
    sides = split_examples(examples, Split(train=0.8, validation=0.1, test=0.1))
    assert (len(sides.train), len(sides.validation), len(sides.test)) == (400, 50, 50)


def test_a_side_without_examples_is_an_error_with_the_numbers() -> None:
    with pytest.raises(DataError) as caught:
        split_examples(texts(4), Split(train=0.9, test=0.1))
    assert str(caught.value) == (
        "data.split: 4 examples in 4 groups, divided 0.9 to 0.1, give 4 for training and 0 for testing; "
        "both need at least one\n"
        "  → Use more data, other shares, or a `train` and a `test` file of their own."
    )


def test_a_validation_set_without_examples_is_an_error_too() -> None:
    split = Split(train=0.8, validation=0.01, test=0.19)
    with pytest.raises(DataError) as caught:
        split_examples(texts(10), split)
    assert str(caught.value).startswith(
        "data.split: 10 examples in 10 groups, divided 0.8 to 0.01 to 0.19, give 8 for training, "
        "0 for validation and 2 for testing; each needs at least one\n"
    )


@given(
    contexts=st.lists(st.integers(0, 30), min_size=2, max_size=40),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 5),
)
def test_what_is_held_out_shares_no_context_with_what_is_kept(
    contexts: list[int], share: float, seed: int
) -> None:
    examples = questions(contexts)
    try:
        kept, held_out = hold_out(examples, Split(validation=share, seed=seed))
    except DataError:
        largest = max(contexts.count(context) for context in contexts)
        assert largest >= min(share, 1 - share) * len(contexts) or len(contexts) * min(share, 1 - share) <= 1
        return
    assert not {example.context for example in kept} & {example.context for example in held_out}
    assert sorted(kept + held_out, key=lambda example: int(example.id)) == examples
    assert hold_out(examples, Split(validation=share, seed=seed)) == (kept, held_out)


def test_a_share_of_texts_is_held_out_to_the_example() -> None:
    kept, held_out = hold_out(texts(20), Split(validation=0.25, seed=1))
    assert (len(kept), len(held_out)) == (15, 5)


def test_a_share_too_small_to_hold_anything_out_is_an_error_with_the_numbers() -> None:
    with pytest.raises(DataError) as caught:
        hold_out(texts(4), Split(validation=0.1, seed=1))
    assert str(caught.value) == (
        "data.split.validation: a share of 0.1 of 4 training examples in 4 groups leaves 4 for training and "
        "0 for validation; both need at least one\n"
        "  → Use more data, another share, or a file of its own in data.validation."
    )


def test_one_context_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="10 examples in 1 groups"):
        split_examples(questions([0] * 10), Split())


def test_taking_more_takes_what_taking_fewer_took() -> None:
    examples = texts(20)
    assert take(examples, 12, seed=3)[:5] == take(examples, 5, seed=3)
    assert set(take(examples, 99, seed=3)) == set(examples)


@given(st.lists(st.integers()), st.integers(0, 2**32))
def test_a_shuffle_keeps_every_item(items: list[int], seed: int) -> None:
    assert sorted(shuffle(items, seed)) == sorted(items)


def labelled(labels: list[str]) -> list[TextExample]:
    return [TextExample(str(index), f"text {index}", None, (label,)) for index, label in enumerate(labels)]


LABELS = st.lists(st.sampled_from("aaaabbc"), min_size=2, max_size=80)


def shares(before: float, validation: float, whole: bool) -> Split:
    train, test = before - validation, 1 - before
    return Split(train=train, validation=validation, test=test if whole else test / 2, stratify=True)


@given(labels=LABELS, before=st.floats(0.2, 0.9), validated=st.booleans(), whole=st.booleans())
def test_stratified_sides_have_the_shares_of_each_label_rounded(
    labels: list[str], before: float, validated: bool, whole: bool
) -> None:
    split = shares(before, before / 4 if validated else 0.0, whole)
    examples = labelled(labels)
    try:
        plain = split_examples(examples, split.model_copy(update={"stratify": False}))
    except DataError:
        with pytest.raises(DataError):
            split_examples(examples, split)
        return
    sides = split_examples(examples, split)
    for side in ("train", "validation", "test"):
        found = getattr(sides, side)
        # As many as without strata, and of each label what its share of them is, but for rounding: once
        # for the cut before the test set, once for that before the validation set.
        assert len(found) == len(getattr(plain, side))
        for label, number in Counter(labels).items():
            share = number * len(found) / len(examples)
            assert abs(sum(example.labels == (label,) for example in found) - share) < 2
    everyone = everything(sides)
    assert len({example.id for example in everyone}) == len(everyone)
    assert split_examples(examples, split) == sides


def test_two_stratified_sides_of_many_small_labels_are_rounded_once() -> None:
    labels = [f"label {index % 77}" for index in range(770)]
    sides = split_examples(labelled(labels), Split(train=0.9, test=0.1, stratify=True))
    assert set(Counter(example.labels for example in sides.test).values()) == {1}
    assert set(Counter(example.labels for example in sides.train).values()) == {9}


def test_entities_are_stratified_by_the_labels_in_a_text() -> None:
    examples = [
        EntityExample(str(index), "Ulm", (Span(0, 3, "place"),) if index % 4 == 0 else ())
        for index in range(40)
    ]
    sides = split_examples(examples, Split(train=0.5, test=0.5, stratify=True))
    assert sum(bool(example.entities) for example in sides.test) == 5


def test_a_held_out_share_is_stratified_too() -> None:
    kept, held_out = hold_out(labelled(["a"] * 30 + ["b"] * 10), Split(validation=0.1, stratify=True))
    assert Counter(example.labels for example in held_out) == {("a",): 3, ("b",): 1}
    assert len(kept) == 36


@given(
    groups=st.lists(st.integers(0, 8), min_size=6, max_size=60),
    contexts=st.booleans(),
    seed=st.integers(0, 5),
)
def test_a_group_is_never_on_two_sides(groups: list[int], contexts: bool, seed: int) -> None:
    # Every second question shares its context with the one before, in another group maybe.
    examples: list[Example] = [
        *(questions([index // 2 for index in range(len(groups))]) if contexts else texts(len(groups)))
    ]
    keys = {example.id: str(group) for example, group in zip(examples, groups, strict=True)}
    split = Split(train=0.6, validation=0.2, test=0.2, seed=seed)
    try:
        sides = split_examples(examples, split, keys)
    except DataError:
        return
    ties = [
        {(kind, value) for example in side for kind, value in tied(example, keys)}
        for side in (sides.train, sides.validation, sides.test)
    ]
    assert not ties[0] & ties[1]
    assert not (ties[0] | ties[1]) & ties[2]
    assert len(everything(sides)) == len(examples)


def tied(example: Example, keys: dict[str, str]) -> list[tuple[str, str]]:
    context = [("context", example.context)] if isinstance(example, QuestionExample) else []
    return [("group", keys[example.id]), *context]


def test_a_held_out_share_keeps_groups_whole() -> None:
    keys = {str(index): str(index % 5) for index in range(50)}
    kept, held_out = hold_out(texts(50), Split(validation=0.2), keys)
    assert {keys[example.id] for example in kept}.isdisjoint({keys[example.id] for example in held_out})
    assert len(held_out) == 10

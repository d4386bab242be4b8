"""Splits: a partition, the same everywhere, with no context on both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Answer, EntityExample, QuestionExample
from rankfold.data.split import shuffle, split_examples, take
from rankfold.errors import DataError
from rankfold.recipe.schema import Split


def texts(count: int) -> list[EntityExample]:
    return [EntityExample(str(index), f"text {index}", ()) for index in range(count)]


def questions(contexts: list[int]) -> list[QuestionExample]:
    return [
        QuestionExample(str(index), "?", f"context {context}", (Answer("c", 0),))
        for index, context in enumerate(contexts)
    ]


# The order of the first ten numbers of random.Random(42), from 0.025 (second) to 0.892 (seventh).
def test_a_seed_gives_these_sides_on_every_machine_and_python() -> None:
    train, test = split_examples(texts(10), Split(train=0.7, test=0.3, seed=42))
    assert [example.id for example in train] == ["1", "9", "7", "3", "2", "8", "0"]
    assert [example.id for example in test] == ["5", "4", "6"]


def test_another_seed_gives_other_sides() -> None:
    first, second = (split_examples(texts(100), Split(seed=seed))[1] for seed in (1, 2))
    assert first != second


@given(count=st.integers(2, 60), share=st.floats(0.05, 0.95), seed=st.integers(0, 5))
def test_the_sides_are_a_partition_of_exact_sizes(count: int, share: float, seed: int) -> None:
    examples = texts(count)
    if round(count * share) in (0, count):
        with pytest.raises(DataError):
            split_examples(examples, Split(train=share, test=1 - share, seed=seed))
        return
    train, test = split_examples(examples, Split(train=share, test=1 - share, seed=seed))
    assert len(train) == round(count * share)
    assert sorted(train + test, key=lambda example: int(example.id)) == examples


def test_shares_below_one_leave_the_rest_out() -> None:
    train, test = split_examples(texts(10), Split(train=0.5, test=0.2))
    assert (len(train), len(test)) == (5, 2)
    assert not set(train) & set(test)


@given(contexts=st.lists(st.integers(0, 8), min_size=2, max_size=40), seed=st.integers(0, 5))
def test_no_context_is_on_both_sides_and_no_question_is_lost(contexts: list[int], seed: int) -> None:
    examples = questions(contexts)
    split = Split(train=0.5, test=0.5, seed=seed)
    try:
        train, test = split_examples(examples, split)
    except DataError:
        largest = max(contexts.count(context) for context in contexts)
        assert largest >= len(contexts) / 2
        return
    assert not {example.context for example in train} & {example.context for example in test}
    assert sorted(train + test, key=lambda example: int(example.id)) == examples


def test_sides_of_questions_are_as_near_to_their_shares_as_contexts_allow() -> None:
    examples = questions([context for context in range(100) for _ in range(5)])
    train, test = split_examples(examples, Split(train=0.9, test=0.1))
    assert (len(train), len(test)) == (450, 50)


def test_a_side_without_examples_is_an_error_with_the_numbers() -> None:
    with pytest.raises(DataError) as caught:
        split_examples(texts(4), Split(train=0.9, test=0.1))
    assert str(caught.value) == (
        "data.split: 4 examples in 4 groups, divided 0.9 to 0.1, give 4 for training and 0 for testing; "
        "both need at least one\n"
        "  → Use more data, other shares, or a `train` and a `test` file of their own."
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

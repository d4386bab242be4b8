"""Cleaning: what is left out, why, and that strict says which."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.cleaning import (
    EMPTY,
    IN_TEST,
    IN_VALIDATION,
    NO_ANSWER,
    REPEATED,
    TOO_LONG,
    TOO_SHORT,
    TrainingCleaner,
    content_of,
    drop_empty,
    held_out_contents,
    is_empty,
    num_characters,
    refuse_losses,
)
from rankfold.data.examples import (
    Answer,
    ChatExample,
    ChoiceExample,
    DocumentExample,
    EntityExample,
    Example,
    Message,
    QuestionExample,
    SequencePairExample,
    Span,
    TextExample,
    TextPairExample,
)
from rankfold.data.result import Tally
from rankfold.errors import DataError
from rankfold.recipe.schema import Cleaning

TEXTS = st.lists(st.sampled_from(["a", "b", "cc", "ddd", " ", ""]), max_size=12)


def documents(texts: list[str]) -> list[tuple[str, DocumentExample]]:
    return [(f"file:{number}", DocumentExample(str(number), text)) for number, text in enumerate(texts)]


def cleaned(texts: list[str], held_out: Any = None, **settings: Any) -> tuple[list[str], Tally]:
    dropped = Tally()
    cleaner = TrainingCleaner(Cleaning(**settings), held_out or {})
    return [example.text for _, example in cleaner.clean(documents(texts), dropped)], dropped


@pytest.mark.parametrize(
    "example",
    [
        DocumentExample("1", " \n\u3000"),
        EntityExample("1", "", ()),
        TextExample("1", "", "a pair"),
        SequencePairExample("1", " ", "target"),
        ChoiceExample("1", "", ("a", "b")),
        TextPairExample("1", ""),
        ChatExample("1", ()),
        ChatExample("1", (Message("user", " "), Message("assistant", ""))),
        QuestionExample("1", "?", " ", ()),
        QuestionExample("1", " ", "context", ()),
    ],
)
def test_an_example_without_a_text_that_it_needs_is_empty(example: Example) -> None:
    assert is_empty(example)
    dropped = Tally()
    assert not list(drop_empty([("file:1", example)], Cleaning(), dropped))
    assert (dropped.counts, dropped.first) == ({EMPTY: 1}, {EMPTY: ["file:1"]})
    assert list(drop_empty([("file:1", example)], Cleaning(drop_empty=False), Tally()))


@pytest.mark.parametrize(
    "example",
    [
        TextExample("1", "a", ""),
        SequencePairExample("1", "a"),
        ChoiceExample("1", "a", ("b",)),
        ChatExample("1", (Message("system", ""), Message("user", "a"))),
        QuestionExample("1", "?", "context", ()),
    ],
)
def test_what_an_example_may_lack_does_not_make_it_empty(example: Example) -> None:
    assert not is_empty(example)


def test_characters_are_those_of_all_that_a_model_reads() -> None:
    assert num_characters(TextExample("1", "北京", "abc", ("label",))) == 5
    assert num_characters(ChatExample("1", (Message("user", "ab"), Message("assistant", "c")))) == 3
    assert num_characters(ChoiceExample("1", "a?", ("b", "cc"), context="ddd")) == 8
    assert num_characters(SequencePairExample("1", "abc", "not counted")) == 3
    assert num_characters(TextPairExample("1", "a", "bb", ("ccc", "dddd"))) == 10


def test_length_is_at_least_and_at_most() -> None:
    kept, dropped = cleaned(["a", "bb", "ccc", "dddd"], min_characters=2, max_characters=3)
    assert kept == ["bb", "ccc"]
    assert dropped.counts == {TOO_SHORT: 1, TOO_LONG: 1}


@given(TEXTS)
def test_each_content_is_learned_once_in_the_order_of_first_appearance(texts: list[str]) -> None:
    kept, dropped = cleaned(texts, drop_duplicates=True)
    assert kept == list(dict.fromkeys(texts))
    assert dropped.counts[REPEATED] == len(texts) - len(kept)
    assert cleaned(kept, drop_duplicates=True) == (kept, Tally())


@given(train=TEXTS, validation=TEXTS, test=TEXTS)
def test_nothing_that_is_tested_on_is_learned(
    train: list[str], validation: list[str], test: list[str]
) -> None:
    sides = [
        [replace(example, id=f"x{example.id}") for _, example in documents(each)]
        for each in (validation, test)
    ]
    kept, dropped = cleaned(train, held_out_contents(*sides), drop_duplicates=True)
    assert kept == [text for text in dict.fromkeys(train) if text not in {*validation, *test}]
    assert dropped.counts[IN_TEST] == len(set(train) & set(test))
    assert dropped.counts[IN_VALIDATION] == len(set(train) & set(validation) - set(test))


def test_duplicates_stay_unless_they_are_to_be_dropped() -> None:
    assert cleaned(["a", "a"])[0] == ["a", "a"]


def test_a_second_training_set_is_compared_with_the_first() -> None:
    cleaner, dropped = TrainingCleaner(Cleaning(drop_duplicates=True)), Tally()
    assert len(list(cleaner.clean(documents(["a"]), Tally()))) == 1
    assert [example.text for _, example in cleaner.clean(documents(["b", "a"]), dropped)] == ["b"]
    assert dropped.first == {REPEATED: ["file:1"]}


def test_the_content_is_all_but_the_id() -> None:
    example = EntityExample("1", "Ulm", (Span(0, 3, "place"),))
    assert content_of(example) == content_of(replace(example, id="2"))
    assert content_of(example) != content_of(replace(example, entities=(Span(0, 3, "river"),)))


def test_questions_without_an_answer_are_left_out_where_only_answers_are_learned() -> None:
    questions = [QuestionExample("1", "?", "c", ()), QuestionExample("2", "?", "c", (Answer("c", 0),))]
    dropped = Tally()
    cleaner = TrainingCleaner(Cleaning(), answers_only=True)
    kept = [example.id for _, example in cleaner.clean([(one.id, one) for one in questions], dropped)]
    assert (kept, dropped.counts) == (["2"], {NO_ANSWER: 1})


def test_strict_names_the_first_ones_of_each_reason() -> None:
    dropped = Tally()
    list(drop_empty(documents(["a", "", " ", "", ""]), Cleaning(), dropped))
    with pytest.raises(DataError) as caught:
        refuse_losses(
            {"train": dropped.counts, "test": {"no wanted label": 3}},
            {"source": {"offsets moved": 1}},
            {"train": dropped.first},
        )
    assert caught.value.message.splitlines() == [
        "strict is on, and not every example can be used as it is:",
        "  dropped from train: 4 × empty or blank text (first: file:1; file:2; file:3)",
        "  repaired in source: 1 × offsets moved",
    ]
    assert caught.value.where == "data.cleaning.strict"


def test_strict_lets_pass_what_the_recipe_asks_for() -> None:
    refuse_losses({"train": {"label_not_wanted": 2, "no wanted label": 1, NO_ANSWER: 3}}, {"train": {}}, {})

"""Scores of examples: coverage, order and how they are added up."""

import pytest

from rankfold.data.examples import Answer, QuestionExample
from rankfold.errors import DataError, OperationalError
from rankfold.metrics.answers import (
    AnswerScore,
    best_score,
    gold_answers,
    mean_percentages,
    score_each,
)


def question(example_id: str, *golds: str) -> QuestionExample:
    return QuestionExample(example_id, "Who?", "…", tuple(Answer(gold, 0) for gold in golds))


def always_half(prediction: str, example: QuestionExample) -> AnswerScore:
    return AnswerScore(0, 0.5)


def test_scores_come_in_the_order_of_the_data_set_not_of_the_predictions() -> None:
    scores = score_each({"b": "", "a": "", "stray": ""}, [question("a"), question("b")], always_half)
    assert list(scores) == ["a", "b"]


def test_an_example_without_a_prediction_is_an_error_that_names_it() -> None:
    with pytest.raises(OperationalError, match="'b'"):
        score_each({"a": ""}, [question("a"), question("b")], always_half)


def test_two_examples_with_the_same_id_are_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match="'a'"):
        score_each({"a": ""}, [question("a"), question("a")], always_half)


def test_exact_match_and_f1_may_be_best_against_different_golds() -> None:
    table = {"first": AnswerScore(1, 0.0), "second": AnswerScore(0, 0.8)}
    best = best_score("", ["first", "second"], lambda _, gold: table[gold])
    assert best == AnswerScore(1, 0.8)


def test_a_question_without_gold_answers_is_an_error_that_says_what_to_set() -> None:
    with pytest.raises(DataError, match=r"version_2_with_negative to true"):
        gold_answers(question("a"))


def test_additions_are_made_one_after_the_other_without_compensation() -> None:
    # Exactly rounded, the ten tenths are 1; added one after the other they are 0.9999999999999999.
    _, f1, total = mean_percentages([AnswerScore(0, 0.1)] * 10)
    assert f1 == 100.0 * 0.9999999999999999 / 10
    assert f1 != 10.0
    assert total == 10


def test_the_mean_of_no_scores_is_zero() -> None:
    assert mean_percentages([]) == (0.0, 0.0, 0)

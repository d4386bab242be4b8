"""SQuAD v1.1 and v2.0, by hand and against a second writing of the definition."""

import gzip
import json
import random
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Answer, QuestionExample
from rankfold.errors import DataError
from rankfold.metrics.answers import AnswerScore
from rankfold.metrics.squad import normalize_answer, score_answer, squad_scores

WORDS = st.lists(
    st.sampled_from(["the", "a", "An", "cat", "cat,", "Dog", "dog's", "—", "", " ", "İ"]), max_size=8
).map(" ".join)


def question(example_id: str, *golds: str) -> QuestionExample:
    return QuestionExample(example_id, "Who?", "…", tuple(Answer(gold, 0) for gold in golds))


def v1(prediction: str, gold: str) -> AnswerScore:
    return score_answer(prediction, gold, version_2_with_negative=False)


def v2(prediction: str, gold: str) -> AnswerScore:
    return score_answer(prediction, gold, version_2_with_negative=True)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Cat", "cat"),
        ("a  cat\tand\nan owl", "cat and owl"),
        ("theatre", "theatre"),  # an article only as a whole word
        ("A.", ""),  # punctuation goes first, which leaves an article
        ("a-b", "ab"),  # punctuation is dropped, not turned into a space
        ("the-cat", "thecat"),
        ("$1,000.50", "100050"),
        ("“cat”", "“cat”"),  # only ASCII punctuation is dropped
        ("北京。", "北京。"),
        ("the\u00a0cat", "cat"),  # a no-break space separates words
        ("", ""),
        (string.punctuation, ""),
    ],
)
def test_normalisation(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@given(WORDS)
def test_normalising_twice_changes_nothing_on_words(text: str) -> None:
    assert normalize_answer(normalize_answer(text)) == normalize_answer(text)


def test_f1_of_two_common_words_out_of_three() -> None:
    assert v1("Denver Broncos won", "Broncos won it") == AnswerScore(0, 2 / 3)


def test_f1_counts_a_repeated_word_as_often_as_both_have_it() -> None:
    # 2 of "cat cat cat", 2 of "cat cat": precision 2/3, recall 1.
    assert v1("cat cat cat", "cat cat").f1 == pytest.approx(0.8, abs=1e-15)
    assert v1("cat dog", "cat cat").f1 == 0.5


def test_f1_does_not_see_the_order_of_words_but_exact_match_does() -> None:
    assert v1("dog cat", "cat dog") == AnswerScore(0, 1.0)


def test_only_articles_on_both_sides_match_exactly_and_have_f1_0_in_v1_and_1_in_v2() -> None:
    assert v1("the", "a the") == AnswerScore(1, 0.0)
    assert v2("the", "a the") == AnswerScore(1, 1.0)


def test_nothing_against_something_is_wrong_in_both_versions() -> None:
    for score in (v1, v2):
        assert score("", "cat") == score("cat", "") == AnswerScore(0, 0.0)


@given(WORDS, WORDS)
def test_f1_is_symmetric_and_between_0_and_1(first: str, second: str) -> None:
    for score in (v1, v2):
        assert score(first, second) == score(second, first)
        assert 0.0 <= score(first, second).f1 <= 1.0


@given(WORDS)
def test_an_answer_matches_itself(text: str) -> None:
    assert v2(text, text) == AnswerScore(1, 1.0)


def test_v1_takes_the_best_gold_answer_and_reports_percentages() -> None:
    scores = squad_scores(
        {"1": "the cat", "2": "a dog ran"},
        [question("1", "owl", "Cat!"), question("2", "dog")],
        version_2_with_negative=False,
    )
    assert scores.per_example == {"1": AnswerScore(1, 1.0), "2": AnswerScore(0, 2 / 3)}
    assert scores.metrics == {"exact_match": 50.0, "f1": 100.0 * (1 + 2 / 3) / 2, "total": 2}


def test_v2_divides_questions_by_whether_they_have_an_answer() -> None:
    scores = squad_scores(
        {"1": "cat", "2": "", "3": "invented", "4": "black cat"},
        [question("1", "cat"), question("2", "dog"), question("3"), question("4", "cat", "black owl")],
        version_2_with_negative=True,
    )
    assert scores.metrics == {
        "exact_match": 25.0,
        "f1": 100.0 * (1 + 2 / 3) / 4,
        "total": 4,
        "HasAns_exact": 100.0 / 3,
        "HasAns_f1": 100.0 * (1 + 2 / 3) / 3,
        "HasAns_total": 3,
        "NoAns_exact": 0.0,
        "NoAns_f1": 0.0,
        "NoAns_total": 1,
    }


def test_v2_ignores_gold_answers_without_words_and_then_wants_an_empty_answer() -> None:
    scores = squad_scores(
        {"1": "", "2": ""},
        [question("1", "the", "cat"), question("2", "the", "...")],
        version_2_with_negative=True,
    )
    assert scores.per_example == {"1": AnswerScore(0, 0.0), "2": AnswerScore(1, 1.0)}
    # Both have gold answers in the data, so both count as answerable.
    assert scores.metrics["HasAns_total"] == 2


def test_v1_refuses_a_question_without_gold_answers() -> None:
    with pytest.raises(DataError, match="'1'"):
        squad_scores({"1": ""}, [question("1")], version_2_with_negative=False)


@pytest.mark.parametrize("version_2_with_negative", [False, True])
def test_an_empty_data_set_scores_zero(version_2_with_negative: bool) -> None:
    scores = squad_scores({}, [], version_2_with_negative=version_2_with_negative)
    assert scores.per_example == {}
    of_kinds = {"HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"}
    assert {value for name, value in scores.metrics.items() if name not in of_kinds} == {0}


def test_a_kind_of_question_that_there_is_none_of_is_not_measured() -> None:
    scores = squad_scores({"1": "cat"}, [question("1", "cat")], version_2_with_negative=True)
    assert (scores.metrics["HasAns_exact"], scores.metrics["HasAns_total"]) == (100.0, 1)
    unmeasured = {name for name, value in scores.metrics.items() if value is None}
    assert (unmeasured, scores.metrics["NoAns_total"]) == ({"NoAns_exact", "NoAns_f1"}, 0)


def test_references_may_be_read_only_once() -> None:
    scores = squad_scores({"1": "cat"}, iter([question("1", "cat")]), version_2_with_negative=True)
    assert scores.metrics["HasAns_total"] == 1


@given(st.lists(st.tuples(WORDS, st.lists(WORDS, max_size=3)), max_size=12))
def test_both_versions_equal_a_second_writing_of_the_definition(
    rows: list[tuple[str, list[str]]],
) -> None:
    predictions = {str(index): prediction for index, (prediction, _) in enumerate(rows)}
    examples = [question(str(index), *golds) for index, (_, golds) in enumerate(rows)]
    answerable = [example for example in examples if example.answers]

    scores = squad_scores(predictions, answerable, version_2_with_negative=False)
    assert (scores.metrics["exact_match"], scores.metrics["f1"]) == restated(
        [(predictions[example.id], [answer.text for answer in example.answers]) for example in answerable],
        both_empty=0.0,
    )
    scores = squad_scores(predictions, examples, version_2_with_negative=True)
    assert (scores.metrics["exact_match"], scores.metrics["f1"]) == restated(
        [(text, [gold for gold in golds if words_of(gold)] or [""]) for text, golds in rows],
        both_empty=1.0,
    )


def test_real_answers_equal_a_second_writing_of_the_definition(shared_data: Path) -> None:
    with gzip.open(shared_data / "xquad" / "xquad.en.json.gz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    generator = random.Random(0)
    rows, examples, predictions = [], [], {}
    for article in articles:
        for paragraph in article["paragraphs"]:
            for item in paragraph["qas"]:
                gold, start = item["answers"][0]["text"], item["answers"][0]["answer_start"]
                first = max(0, start + generator.randint(-9, 5))
                prediction = paragraph["context"][first : start + len(gold) + generator.randint(-3, 9)]
                rows.append((prediction, [gold]))
                examples.append(question(item["id"], gold))
                predictions[item["id"]] = prediction
    metrics = squad_scores(predictions, examples, version_2_with_negative=False).metrics
    assert (metrics["exact_match"], metrics["f1"]) == restated(rows, both_empty=0.0)
    assert metrics["total"] == len(rows) == 1190


def words_of(text: str) -> list[str]:
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def restated(rows: list[tuple[str, list[str]]], *, both_empty: float) -> tuple[float, float]:
    """Mean exact match and F1 in percent, written for clarity and added in order."""
    exact_sum = f1_sum = 0.0
    for prediction, golds in rows:
        exact_sum += max(words_of(prediction) == words_of(gold) for gold in golds)
        f1_sum += max(restated_f1(words_of(prediction), words_of(gold), both_empty) for gold in golds)
    return (100.0 * exact_sum / len(rows), 100.0 * f1_sum / len(rows)) if rows else (0.0, 0.0)


def restated_f1(prediction: list[str], gold: list[str], both_empty: float) -> float:
    if not prediction and not gold:
        return both_empty
    unmatched = list(gold)
    for word in prediction:
        if word in unmatched:
            unmatched.remove(word)
    num_same = len(gold) - len(unmatched)
    if not num_same:
        return 0.0
    precision, recall = num_same / len(prediction), num_same / len(gold)
    return 2 * precision * recall / (precision + recall)

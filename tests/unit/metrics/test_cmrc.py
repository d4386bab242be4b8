"""CMRC 2018: Chinese characters and Latin words as tokens, longest common run as overlap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Answer, QuestionExample
from rankfold.errors import DataError
from rankfold.metrics.answers import AnswerScore
from rankfold.metrics.cmrc import (
    cmrc_scores,
    longest_common_run,
    remove_punctuation,
    score_answer,
    segment,
)

TEXTS = st.text(alphabet="北京大学abC1.,，。（ ）-'", max_size=12)
TOKENS = st.lists(st.sampled_from("xyz"), max_size=8)


def question(example_id: str, *golds: str) -> QuestionExample:
    return QuestionExample(example_id, "谁？", "…", tuple(Answer(gold, 0) for gold in golds))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("北京大学", ["北", "京", "大", "学"]),
        ("使用gpu训练", ["使", "用", "gpu", "训", "练"]),
        ("new york", ["new", "york"]),
        ("3.5米", ["3.5", "米"]),
        ("11,000公里", ["11,000", "公", "里"]),
        ("a,b", ["a", ",", "b"]),
        ("±10m", ["±10m"]),
        ("3％", ["3％"]),
        ("3%", ["3", "%"]),
        ("john h. mcarthur", ["john", "h", ".", "mcarthur"]),
        ("1939.", ["1939", "."]),
        ("(a)", ["(", "a", ")"]),
        ("23–16", ["23", "–", "16"]),
        ("等...", ["等", "..."]),
        ("o'brien", ["o'brien"]),
        ("", []),
        (" \u3000 ", []),
    ],
)
def test_segmentation(text: str, tokens: list[str]) -> None:
    assert segment(text) == tokens


def test_chinese_punctuation_is_dropped_and_ascii_commas_are_not() -> None:
    assert remove_punctuation(" 《Sacas！》，A-b ") == "sacasab"
    assert remove_punctuation("1,000.") == "1,000."
    assert remove_punctuation("完…") == "完…"


@pytest.mark.parametrize(
    ("first", "second", "length"),
    [("", "", 0), ("xyz", "", 0), ("xyz", "xyz", 3), ("xyxz", "xxz", 2), ("xyz", "zyx", 1)],
)
def test_longest_common_run(first: str, second: str, length: int) -> None:
    assert longest_common_run(first, second) == length


@given(TOKENS, TOKENS)
def test_the_longest_common_run_is_the_longest_slice_that_occurs_in_both(
    first: list[str], second: list[str]
) -> None:
    joined = "".join(second)
    slices = [
        "".join(first[start:end]) for start in range(len(first)) for end in range(start + 1, len(first) + 1)
    ]
    longest = max((len(part) for part in slices if part in joined), default=0)
    assert longest_common_run(first, second) == longest


def test_f1_counts_contiguous_characters_only() -> None:
    # 北京 is the longest common run: precision 2/4, recall 2/3.
    assert score_answer("北京大学", "北京学").f1 == pytest.approx(4 / 7, abs=1e-15)


def test_a_chinese_answer_that_is_one_character_too_long_is_nearly_right() -> None:
    # SQuAD's words would make this 0: there are no spaces.
    assert score_answer("在北京大学", "北京大学") == AnswerScore(0, 2 * 0.8 * 1.0 / 1.8)


def test_punctuation_and_case_do_not_matter() -> None:
    assert score_answer("《GPU训练》。", "gpu训练") == AnswerScore(1, 1.0)


def test_only_punctuation_on_both_sides_matches_exactly_and_has_f1_0() -> None:
    assert score_answer("。", "") == AnswerScore(1, 0.0)


@given(TEXTS, TEXTS)
def test_f1_is_symmetric_and_between_0_and_1(first: str, second: str) -> None:
    assert score_answer(first, second) == score_answer(second, first)
    assert 0.0 <= score_answer(first, second).f1 <= 1.0


def test_a_data_set_takes_the_best_gold_answer_and_reports_percentages() -> None:
    scores = cmrc_scores(
        {"1": "北京", "2": "上海市"}, [question("1", "南京", "北京。"), question("2", "上海")]
    )
    assert scores.per_example["1"] == AnswerScore(1, 1.0)
    assert scores.metrics["exact_match"] == 50.0
    assert scores.metrics["f1"] == pytest.approx(90.0)
    assert scores.metrics["total"] == 2


def test_a_question_without_gold_answers_is_refused() -> None:
    with pytest.raises(DataError, match="'1'"):
        cmrc_scores({"1": ""}, [question("1")])


def test_an_empty_data_set_scores_zero() -> None:
    assert cmrc_scores({}, []).metrics == {"exact_match": 0.0, "f1": 0.0, "total": 0}

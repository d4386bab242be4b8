"""Every score of a question answering data set, from its details read one line at a time."""

import json
from typing import Any

import pytest

from rankfold.data.examples import Answer, QuestionExample
from rankfold.metrics.cmrc import cmrc_scores
from rankfold.metrics.question_answering import answer_metrics_of
from rankfold.metrics.squad import squad_scores

ENGLISH = [("the cat", ["cat", "a dog"]), ("black cat", ["cat"]), ("owl", ["cat"])] * 4
CHINESE = [("在北京大学", ["北京大学"]), ("1939", ["1939"]), ("上海", ["南京"])] * 4
WITH_NEGATIVE = [("cat", ["cat"]), ("", []), ("dog", []), ("", ["cat"]), ("black cat", ["cat"])] * 4


def question(index: int, golds: list[str]) -> QuestionExample:
    return QuestionExample(str(index), "?", "…", tuple(Answer(gold, 0) for gold in golds))


def rows(answers: list[tuple[str, list[str]]], *, version_2: bool) -> list[dict[str, Any]]:
    examples = [question(index, golds) for index, (_, golds) in enumerate(answers)]
    scores = squad_scores(texts(answers), examples, version_2_with_negative=version_2).per_example
    return [
        {
            "id": example.id,
            "answers": [{"text": answer.text, "answer_start": 0} for answer in example.answers],
            "prediction": prediction,
            "exact_match": scores[example.id].exact_match,
            "f1": scores[example.id].f1,
            "null_score_difference": float(index % 3) if prediction else None,
        }
        for index, (example, (prediction, _)) in enumerate(zip(examples, answers, strict=True))
    ]


def texts(answers: list[tuple[str, list[str]]]) -> dict[str, str]:
    return {str(index): prediction for index, (prediction, _) in enumerate(answers)}


def metrics_of(
    answers: list[tuple[str, list[str]]], *, version_2: bool = False, resamples: int = 0, seed: int = 0
) -> dict[str, Any]:
    details = iter(rows(answers, version_2=version_2))
    return answer_metrics_of(details, version_2_with_negative=version_2, resamples=resamples, seed=seed)


def test_v1_has_the_scores_of_squad_and_nothing_else() -> None:
    examples = [question(index, golds) for index, (_, golds) in enumerate(ENGLISH)]
    expected = squad_scores(texts(ENGLISH), examples, version_2_with_negative=False).metrics
    assert metrics_of(ENGLISH) == expected


def test_v2_has_the_scores_of_squad_and_the_best_thresholds() -> None:
    examples = [question(index, golds) for index, (_, golds) in enumerate(WITH_NEGATIVE)]
    differences = {
        row["id"]: row["null_score_difference"]
        for row in rows(WITH_NEGATIVE, version_2=True)
        if row["null_score_difference"] is not None
    }
    metrics = metrics_of(WITH_NEGATIVE, version_2=True)
    assert (
        metrics
        == squad_scores(
            texts(WITH_NEGATIVE), examples, version_2_with_negative=True, null_score_differences=differences
        ).metrics
    )
    assert metrics["best_exact"] >= metrics["exact_match"]


def test_answers_in_chinese_also_get_the_scores_of_cmrc() -> None:
    examples = [question(index, golds) for index, (_, golds) in enumerate(CHINESE)]
    expected = cmrc_scores(texts(CHINESE), examples).metrics
    metrics = metrics_of(CHINESE)
    assert metrics["cmrc_exact_match"] == expected["exact_match"]
    assert metrics["cmrc_f1"] == expected["f1"] > metrics["f1"]


def test_one_chinese_gold_answer_at_the_end_is_enough_and_a_prediction_is_not() -> None:
    assert "cmrc_f1" in metrics_of([*ENGLISH, ("cat", ["猫"])])
    assert "cmrc_f1" not in metrics_of([*ENGLISH, ("猫", ["cat"])])


def test_v2_has_no_scores_of_cmrc() -> None:
    assert "cmrc_f1" not in metrics_of([*CHINESE, ("", [])], version_2=True)


def test_scores_are_those_of_the_rows_added_one_after_the_other() -> None:
    tenth = rows([("cat", ["cat"])], version_2=False)[0] | {"f1": 0.1}
    metrics = answer_metrics_of([tenth] * 10, version_2_with_negative=False, resamples=0, seed=0)
    assert metrics["f1"] == 100.0 * 0.9999999999999999 / 10


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        (ENGLISH, ["exact_match", "f1"]),
        (CHINESE, ["exact_match", "f1", "cmrc_exact_match", "cmrc_f1"]),
    ],
    ids=["English", "Chinese"],
)
def test_intervals_are_percentages_around_their_score(
    answers: list[tuple[str, list[str]]], names: list[str]
) -> None:
    metrics = metrics_of(answers, resamples=300, seed=4)
    assert list(metrics["confidence_intervals"]) == names
    for name, (low, high) in metrics["confidence_intervals"].items():
        assert 0 <= low < metrics[name] < high <= 100
    assert metrics == metrics_of(answers, resamples=300, seed=4)


@pytest.mark.parametrize("version_2", [False, True])
def test_no_rows_score_zero(version_2: bool) -> None:
    metrics = metrics_of([], version_2=version_2, resamples=5)
    assert metrics.pop("confidence_intervals") == {"exact_match": [0.0, 0.0], "f1": [0.0, 0.0]}
    of_kinds = {"HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"}
    assert {value for name, value in metrics.items() if name not in of_kinds} == {0}


@pytest.mark.parametrize("version_2", [False, True])
def test_every_score_is_a_finite_number_that_json_can_hold(version_2: bool) -> None:
    metrics = metrics_of(WITH_NEGATIVE if version_2 else CHINESE, version_2=version_2, resamples=5)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert all(type(value) in (int, float, dict) for value in metrics.values())

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rankfold.data.examples import QuestionExample
from rankfold.nbest.candidates import CANDIDATE, NOWHERE, Ranking
from rankfold.nbest.finalise import CERTAIN_NULL, finalise
from rankfold.nbest.lines import nbest_lines, prediction_lines
from rankfold.nbest.predictions import predictions

CONTEXT = "İstanbul 中文"


@dataclass(frozen=True)
class Prediction:
    """The answer to one question in every form."""

    text: str
    start: int | None
    end: int | None
    probability: float
    null_score_difference: float | None
    null_odds: float
    nbest: list[dict[str, Any]]
    written: str


def predict(
    spans: list[tuple[int, int, float]],
    null_score: float | None = 0.0,
    *,
    n_best_size: int = 20,
    context: str = CONTEXT,
    v2: bool = True,
    threshold: float = 0.0,
) -> Prediction:
    """The answer to one question, of spans (first character, character after the last, score)."""
    candidates = np.zeros(len(spans), CANDIDATE)
    for row, (start, end, score) in enumerate(spans):
        candidates[row] = (0, start, end, score, 0, score)
    nulls = np.full(1, NOWHERE)
    if null_score is not None:
        nulls[0] = (0, -1, -1, null_score, 0, null_score)
    ranking = Ranking(n_best_size, candidates, np.array([0, len(spans)]), nulls)
    answers = finalise(ranking, version_2_with_negative=v2, null_score_diff_threshold=threshold)
    questions = [QuestionExample("q", "?", context, ())]
    found = predictions(answers, questions)
    return Prediction(
        text=found.texts[0],
        start=found.starts[0],
        end=found.ends[0],
        probability=found.probabilities[0],
        null_score_difference=found.null_score_differences[0],
        null_odds=answers.null_odds.item(),
        nbest=json.loads(nbest_lines(answers, questions))["nbest"],
        written=prediction_lines(found.texts, questions).decode(),
    )


def texts(prediction: Prediction) -> list[str]:
    return [candidate["text"] for candidate in prediction.nbest]


def test_the_answer_is_the_contexts_own_characters() -> None:
    prediction = predict([(0, 8, 2.0), (9, 11, 1.0)], v2=False)
    assert (prediction.text, prediction.start, prediction.end) == ("İstanbul", 0, 8)
    assert texts(prediction) == ["İstanbul", "中文"]


def test_probabilities_are_the_softmax_of_the_list() -> None:
    prediction = predict([(0, 8, 2.0), (9, 11, 1.0)], v2=False)
    expected = math.exp(2) / (math.exp(2) + math.exp(1))
    assert prediction.probability == pytest.approx(expected, rel=1e-15)
    assert math.fsum(candidate["probability"] for candidate in prediction.nbest) == 1.0


def test_large_scores_do_not_overflow_the_softmax() -> None:
    assert predict([(0, 8, 3e38), (9, 11, -3e38)], v2=False).probability == 1.0


@pytest.mark.parametrize("v2", [False, True])
def test_an_example_without_any_window_is_answered_with_nothing(v2: bool) -> None:
    prediction = predict([], None, v2=v2)
    assert prediction == Prediction("", None, None, 0.0, None, CERTAIN_NULL, [], '"q": ""\n')


def test_an_example_without_a_span_is_answered_with_nothing_in_v1() -> None:
    prediction = predict([], 4.0, v2=False)
    assert prediction == Prediction("", None, None, 0.0, None, CERTAIN_NULL, [], '"q": ""\n')


def test_an_example_without_a_span_is_answered_with_its_null_in_v2_whatever_the_threshold() -> None:
    prediction = predict([], 4.0, threshold=math.inf)
    assert (prediction.text, prediction.start, prediction.probability) == ("", None, 1.0)
    assert texts(prediction) == [""]


def test_the_null_does_not_take_part_in_v1() -> None:
    assert texts(predict([(0, 8, -5.0)], 9.0, v2=False)) == ["İstanbul"]


def test_the_null_takes_part_in_v2_and_loses_ties() -> None:
    prediction = predict([(0, 8, 2.0), (9, 11, 1.0), (0, 1, 0.0)], 1.0)
    assert texts(prediction) == ["İstanbul", "中文", "", "İ"]
    assert (prediction.nbest[2]["start"], prediction.nbest[2]["end"]) == (None, None)


@pytest.mark.parametrize(("null_score", "text"), [(2.5, "İstanbul"), (2.75, "")])
def test_only_a_null_above_the_threshold_is_the_answer(null_score: float, text: str) -> None:
    prediction = predict([(0, 8, 2.0)], null_score, threshold=0.5)
    assert prediction.text == text
    assert prediction.probability == next(c["probability"] for c in prediction.nbest if c["text"] == text)


def test_the_difference_to_the_null_is_not_rounded() -> None:
    null_score, best = float(np.float32(1e8)), float(np.float32(1.0))
    assert predict([(0, 8, best)], null_score, threshold=99999999.0).text == "İstanbul"
    assert predict([(0, 8, best)], null_score, threshold=99999998.5).text == ""


def test_a_span_without_text_is_never_the_answer_of_v2() -> None:
    prediction = predict([(3, 3, 9.0), (0, 8, 2.0)], 1.0)
    assert prediction.text == "İstanbul"
    assert texts(prediction) == ["", "İstanbul", ""]


def test_the_null_is_kept_where_the_cut_would_remove_it() -> None:
    assert texts(predict([(0, 8, 2.0), (9, 11, 1.5)], 1.0, n_best_size=2)) == ["İstanbul", "中文", ""]


def test_the_null_takes_a_place_of_the_list() -> None:
    assert texts(predict([(0, 8, 2.0), (9, 11, 0.5)], 1.0, n_best_size=2)) == ["İstanbul", ""]


def test_the_best_span_is_kept_where_the_cut_would_remove_it() -> None:
    prediction = predict([(0, 8, 1.0)], 2.0, n_best_size=1, threshold=5.0)
    assert texts(prediction) == ["", "İstanbul"]
    assert prediction.text == "İstanbul"


def test_a_null_that_ties_by_zeros_of_two_signs_still_loses() -> None:
    assert texts(predict([(0, 8, -0.0)], 0.0)) == ["İstanbul", ""]


def test_null_odds_are_the_null_less_the_best_span_with_text() -> None:
    prediction = predict([(9, 9, 8.0), (9, 11, 1.0)], 3.5)
    assert prediction.null_score_difference == prediction.null_odds == 2.5


def test_null_odds_are_known_in_v1_too() -> None:
    assert predict([(9, 11, 1.0)], 3.5, v2=False).null_score_difference == 2.5


@pytest.mark.parametrize("null_score", [4.0, None])
def test_null_odds_without_a_span_are_certain(null_score: float | None) -> None:
    prediction = predict([], null_score)
    assert prediction.null_odds == CERTAIN_NULL
    assert prediction.null_score_difference is None

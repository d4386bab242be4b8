import math

import numpy as np
import pytest

from rankfold.data.examples import QuestionExample
from rankfold.nbest.candidates import CANDIDATE, Ranking
from rankfold.nbest.finalise import finalise
from rankfold.nbest.predictions import (
    CERTAIN_NULL,
    Prediction,
    best_span,
    nbest_row,
    official_predictions,
    score_difference,
)

CONTEXT = "İstanbul 中文"


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
        candidates[row] = (0, 0, start, end, score, 0, score)
    nulls = np.zeros(0 if null_score is None else 1, CANDIDATE)
    nulls["score"] = nulls["start_logit"] = 0 if null_score is None else null_score
    ranking = Ranking(n_best_size, candidates, np.array([0, len(spans)]), nulls)
    (prediction,) = finalise(
        ranking,
        [QuestionExample("q", "?", context, ())],
        version_2_with_negative=v2,
        null_score_diff_threshold=threshold,
    )
    return prediction


def texts(prediction: Prediction) -> list[str]:
    return [candidate.text for candidate in prediction.nbest]


def test_the_answer_is_the_contexts_own_characters() -> None:
    prediction = predict([(0, 8, 2.0), (9, 11, 1.0)], v2=False)
    assert (prediction.text, prediction.start, prediction.end) == ("İstanbul", 0, 8)
    assert texts(prediction) == ["İstanbul", "中文"]


def test_probabilities_are_the_softmax_of_the_list() -> None:
    prediction = predict([(0, 8, 2.0), (9, 11, 1.0)], v2=False)
    expected = math.exp(2) / (math.exp(2) + math.exp(1))
    assert prediction.probability == pytest.approx(expected, rel=1e-15)
    assert math.fsum(candidate.probability for candidate in prediction.nbest) == 1.0


def test_large_scores_do_not_overflow_the_softmax() -> None:
    assert predict([(0, 8, 3e38), (9, 11, -3e38)], v2=False).probability == 1.0


@pytest.mark.parametrize("v2", [False, True])
def test_an_example_without_any_window_is_answered_with_nothing(v2: bool) -> None:
    prediction = predict([], None, v2=v2)
    assert prediction == Prediction("q", "", None, None, 0.0, None, ())


def test_an_example_without_a_span_is_answered_with_nothing_in_v1() -> None:
    prediction = predict([], 4.0, v2=False)
    assert prediction == Prediction("q", "", None, None, 0.0, 4.0, ())


def test_an_example_without_a_span_is_answered_with_its_null_in_v2_whatever_the_threshold() -> None:
    prediction = predict([], 4.0, threshold=math.inf)
    assert (prediction.text, prediction.probability, prediction.null_score) == ("", 1.0, 4.0)
    assert texts(prediction) == [""]


def test_the_null_does_not_take_part_in_v1() -> None:
    assert texts(predict([(0, 8, -5.0)], 9.0, v2=False)) == ["İstanbul"]


def test_the_null_takes_part_in_v2_and_loses_ties() -> None:
    prediction = predict([(0, 8, 2.0), (9, 11, 1.0), (0, 1, 0.0)], 1.0)
    assert texts(prediction) == ["İstanbul", "中文", "", "İ"]
    assert (prediction.nbest[2].start, prediction.nbest[2].end) == (None, None)


@pytest.mark.parametrize(("null_score", "text"), [(2.5, "İstanbul"), (2.75, "")])
def test_only_a_null_above_the_threshold_is_the_answer(null_score: float, text: str) -> None:
    prediction = predict([(0, 8, 2.0)], null_score, threshold=0.5)
    assert prediction.text == text
    assert prediction.probability == next(c.probability for c in prediction.nbest if c.text == text)


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


def test_examples_that_were_not_ranked_are_refused() -> None:
    ranking = Ranking(20, np.zeros(0, CANDIDATE), np.array([0, 0]), np.zeros(0, CANDIDATE))
    with pytest.raises(ValueError, match="0 examples, but 1 were ranked"):
        finalise(ranking, [], version_2_with_negative=True)


def test_the_official_scripts_get_an_answer_for_every_id() -> None:
    assert official_predictions([predict([(9, 11, 1.0)]), predict([])]) == {"q": ""}
    assert official_predictions([predict([(9, 11, 1.0)])]) == {"q": "中文"}


def test_null_odds_are_the_null_less_the_best_span() -> None:
    prediction = predict([(9, 11, 1.0)], 3.5)
    assert score_difference(prediction.null_score, best_span(prediction.nbest)) == 2.5


@pytest.mark.parametrize("null_score", [4.0, None])
def test_null_odds_without_a_span_are_certain(null_score: float | None) -> None:
    prediction = predict([], null_score)
    assert score_difference(prediction.null_score, best_span(prediction.nbest)) == CERTAIN_NULL


def test_a_line_of_the_n_best_file_holds_the_candidates_best_first() -> None:
    assert nbest_row(predict([(9, 11, 1.0)], 1.0)) == {
        "id": "q",
        "nbest": [
            {
                "text": "中文",
                "start": 9,
                "end": 11,
                "probability": 0.5,
                "score": 1.0,
                "start_logit": 1.0,
                "end_logit": 0.0,
            },
            {
                "text": "",
                "start": None,
                "end": None,
                "probability": 0.5,
                "score": 1.0,
                "start_logit": 1.0,
                "end_logit": 0.0,
            },
        ],
    }

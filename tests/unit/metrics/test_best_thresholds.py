"""SQuAD v2's best null thresholds, against a second writing of the script's search."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Answer, QuestionExample
from rankfold.metrics.answers import BEYOND_ANY_DIFFERENCE
from rankfold.metrics.squad import BestThresholds, best_thresholds, squad_scores

ANSWERS = [{"text": "gold", "answer_start": 0}]


def row(
    difference: float | None,
    exact_match: int,
    f1: float,
    *,
    has_answer: bool = True,
    prediction: str = "said",
) -> dict[str, Any]:
    return {
        "answers": ANSWERS if has_answer else [],
        "prediction": prediction,
        "exact_match": exact_match,
        "f1": f1,
        "null_score_difference": difference,
    }


# Few different values, so that there are ties.
ROWS = st.lists(
    st.builds(
        row,
        st.one_of(st.none(), st.sampled_from([-2.0, -0.5, 0.0, 1.5])),
        st.integers(0, 1),
        st.sampled_from([0.0, 0.1, 2 / 3, 1.0]),
        has_answer=st.booleans(),
        prediction=st.sampled_from(["", "said"]),
    ),
    max_size=10,
)


def restated(
    differences: dict[str, float], scores: dict[str, float], texts: dict[str, str], answerable: set[str]
) -> tuple[float, float]:
    """Start from answering nothing; walk up the differences; remember the best place."""
    best = so_far = float(len(scores) - len(answerable))
    best_place = 0.0
    for name, place in sorted(differences.items(), key=lambda item: item[1]):
        if name in answerable:
            so_far += scores[name]
        elif texts[name]:
            so_far -= 1
        if so_far > best:
            best, best_place = so_far, place
    return 100.0 * best / len(scores), best_place


@given(ROWS)
def test_thresholds_are_those_of_a_second_writing_to_the_bit(rows: list[dict[str, Any]]) -> None:
    named = {str(index): row for index, row in enumerate(rows)}
    differences = {
        name: BEYOND_ANY_DIFFERENCE if row["null_score_difference"] is None else row["null_score_difference"]
        for name, row in named.items()
    }
    texts = {name: row["prediction"] for name, row in named.items()}
    answerable = {name for name, row in named.items() if row["answers"]}
    expected = [
        restated(differences, {name: row[key] for name, row in named.items()}, texts, answerable)
        if rows
        else (0.0, 0.0)
        for key in ("exact_match", "f1")
    ]
    assert best_thresholds(iter(rows)) == BestThresholds(*expected[0], *expected[1])


def test_a_threshold_that_parts_the_answerable_from_the_others_makes_all_right() -> None:
    rows = [row(3.0, 0, 0.0, has_answer=False), row(-1.5, 1, 1.0), row(2.0, 1, 1.0)]
    assert best_thresholds(rows) == BestThresholds(100.0, 2.0, 100.0, 2.0)


def test_exact_match_and_f1_may_have_different_thresholds() -> None:
    rows = [row(-1.0, 1, 1.0), row(1.0, 0, 0.5)]
    assert best_thresholds(rows) == BestThresholds(50.0, -1.0, 75.0, 1.0)


def test_where_answering_nothing_is_best_the_threshold_is_zero() -> None:
    rows = [row(-5.0, 0, 0.0, has_answer=False), row(-4.0, 0, 0.0)]
    assert best_thresholds(rows) == BestThresholds(50.0, 0.0, 50.0, 0.0)


def test_of_equal_differences_the_first_in_the_data_set_comes_first_even_if_no_threshold_parts_them() -> None:
    right, wrong = row(1.0, 1, 1.0), row(1.0, 0, 0.0, has_answer=False)
    assert best_thresholds([right, wrong]).exact == 100.0
    assert best_thresholds([wrong, right]).exact == 50.0


def test_an_answer_that_is_already_empty_costs_nothing() -> None:
    rows = [row(-9.0, 1, 1.0, has_answer=False, prediction=""), row(0.5, 1, 1.0)]
    assert best_thresholds(rows) == BestThresholds(100.0, 0.5, 100.0, 0.5)


def test_no_difference_is_beyond_any_other() -> None:
    rows = [row(None, 1, 1.0), row(1e30, 0, 0.0)]
    assert best_thresholds(rows).exact_threshold == BEYOND_ANY_DIFFERENCE


def test_an_empty_data_set_has_zeros() -> None:
    assert best_thresholds([]) == BestThresholds(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("differences", "found"), [(None, False), ({"1": -1.0, "2": 2.0}, True)])
def test_scores_have_them_only_where_differences_are_given(
    differences: dict[str, float] | None, found: bool
) -> None:
    examples = [QuestionExample("1", "", "", (Answer("cat", 0),)), QuestionExample("2", "", "", ())]
    metrics = squad_scores(
        {"1": "cat", "2": "dog"}, examples, version_2_with_negative=True, null_score_differences=differences
    ).metrics
    assert ("best_exact" in metrics) is found
    if found:
        assert (metrics["best_f1"], metrics["best_f1_thresh"]) == (100.0, -1.0)

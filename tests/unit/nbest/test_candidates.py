from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from rankfold.errors import NumericalError, ShardError, UserError
from rankfold.nbest.candidates import Ranking, rank_candidates
from rankfold.nbest.merge import MergeState

from .cases import Sharding, extract, window_table
from .oracle import Case, Window

SHARDING = Sharding(arrivals=(), padding_side="right", half=False, seed=0)


def window(id: int, starts: list[float], ends: list[float], *, example: int = 0, **changes: Any) -> Window:
    """A window of CLS and then context, one character a token."""
    offsets = (None, *((place, place + 1) for place in range(len(starts) - 1)))
    plain = Window(
        id,
        example,
        tuple(map(np.float32, starts)),
        tuple(map(np.float32, ends)),
        offsets,
        cls_index=0,
        max_context=None,
    )
    return replace(plain, **changes)


def state_and_table(*windows: Window, n_best_size: int = 20) -> tuple[MergeState, Any]:
    case = Case(("",), windows, n_best_size, 30, True, 0.0)
    records = extract(case, tuple(range(len(windows))), SHARDING, Random(0))
    return MergeState.of([records]), window_table(case, range(9))


def rank(*windows: Window, examples: range = range(1), **changes: int) -> Ranking:
    state, table = state_and_table(*windows)
    limits = {"n_best_size": 20, "max_answer_length": 30} | changes
    return rank_candidates(state, table, examples=examples, **limits)


def characters(ranking: Ranking) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = ranking.spans[["start_char", "end_char"]].tolist()
    return found


def test_spans_come_by_score_and_carry_their_logits() -> None:
    ranking = rank(window(0, [0, 1, 2], [0, 5, 3]))
    assert characters(ranking) == [(0, 1), (1, 2), (0, 2)]
    assert ranking.spans["score"].tolist() == [6, 5, 4]
    assert ranking.spans["start_logit"].tolist() == [1, 2, 1]


def test_the_least_null_of_an_example_counts_and_not_the_greatest() -> None:
    ranking = rank(window(0, [3, 0], [1, 0]), window(1, [1, 0], [0, 0]), window(2, [9, 0], [9, 0]))
    assert ranking.nulls["score"].tolist() == [1]


def test_the_first_window_wins_a_tie_of_nulls() -> None:
    ranking = rank(window(0, [9, 0], [9, 0]), window(1, [2, 0], [0, 0]), window(2, [0, 0], [2, 0]))
    assert ranking.nulls[["window", "start_logit", "end_logit"]].tolist() == [(1, 2, 0)]


def test_nulls_of_the_two_zeros_tie() -> None:
    ranking = rank(window(0, [0.0, 0], [0.0, 0]), window(1, [-0.0, 0], [-0.0, 0]))
    assert ranking.nulls["window"].tolist() == [0]


def test_equal_scores_come_by_window_then_start_rank_then_end_rank() -> None:
    flat = window(0, [0, 1, 1], [0, 1, 1])
    ranking = rank(flat, replace(flat, id=1, offsets=(None, (10, 11), (11, 12))))
    assert characters(ranking) == [(1, 2), (0, 2), (0, 1), (11, 12), (10, 12), (10, 11)]


def test_an_answer_may_be_as_long_as_the_limit_and_no_longer() -> None:
    flat = window(0, [0, 0, 0, 0], [0, 0, 0, 0])
    lengths = {end - start for start, end in characters(rank(flat, max_answer_length=2))}
    assert lengths == {1, 2}


def test_question_tokens_use_up_places_of_the_n_best() -> None:
    question_first = window(0, [0, 9, 8, 1], [0, 1, 1, 1], offsets=(None, None, None, (0, 1)))
    assert characters(rank(question_first, n_best_size=2)) == []
    assert characters(rank(question_first, n_best_size=3)) == [(0, 1)]


def test_an_answer_starts_only_where_its_window_has_the_most_context() -> None:
    limited = window(0, [0, 0, 0], [0, 0, 0], max_context=(False, True, False))
    assert sorted(characters(rank(limited))) == [(0, 1), (0, 2)]


def test_fewer_candidates_can_be_asked_for_than_were_kept() -> None:
    twenty = window(0, [0, 3, 1, 2, 5, 4], [0, 1, 5, 4, 3, 2])
    few, _ = state_and_table(twenty, n_best_size=3)
    many, table = state_and_table(twenty)
    of_few, of_many = (
        rank_candidates(state, table, examples=range(1), n_best_size=3, max_answer_length=30)
        for state in (few, many)
    )
    assert of_few.spans.tobytes() == of_many.spans.tobytes()


def test_more_candidates_than_were_kept_cannot_be_asked_for() -> None:
    state, table = state_and_table(window(6, [0, 3, 1, 2], [0, 1, 5, 4]), n_best_size=2)
    with pytest.raises(ShardError, match="n_best_size is 3, but the record of window 6 keeps 2 starts"):
        rank_candidates(state, table, examples=range(1), n_best_size=3, max_answer_length=30)


@pytest.mark.parametrize("size", [0, 21])
def test_a_number_of_candidates_that_no_record_holds_is_the_users_mistake(size: int) -> None:
    with pytest.raises(UserError, match=f"n_best_size is {size}; a window record holds 1 to 20"):
        rank(window(0, [0, 0], [0, 0]), n_best_size=size)


def test_an_example_without_a_window_has_no_spans_and_nobody_elses_null() -> None:
    ranking = rank(window(0, [0, 0], [0, 0], example=1), examples=range(3))
    assert ranking.row_starts.tolist() == [0, 0, 1, 1]
    assert ranking.nulls["window"].tolist() == [-1, 0, -1]


def test_examples_from_the_middle_of_a_data_set_are_ranked_by_themselves() -> None:
    windows = [window(i, [0, i, 1], [0, 1, i % 2], example=i // 2) for i in range(8)]
    some, every = rank(*windows[2:6], examples=range(1, 3)), rank(*windows, examples=range(4))
    first, stop = every.row_starts[[1, 3]]
    names = ["start_char", "end_char", "start_logit", "end_logit", "score"]
    assert some.spans[names].tolist() == every.spans[first:stop][names].tolist()
    assert some.nulls["window"].tolist() == [0, 2]


def test_a_better_span_of_a_later_window_takes_the_place_of_a_worse_one() -> None:
    best_last = [window(i, [0, i], [0, 0], offsets=(None, (i, i + 1))) for i in range(5)]
    assert characters(rank(*best_last, n_best_size=2)) == [(4, 5), (3, 4)]


def test_subnormal_scores_are_told_apart() -> None:
    tiny = 1e-45
    ranking = rank(window(0, [0, 0, tiny], [0, 0, 0], offsets=(None, (0, 1), (1, 2))), max_answer_length=1)
    assert characters(ranking) == [(1, 2), (0, 1)]


def test_windows_that_are_missing_or_not_of_the_data_set_are_named() -> None:
    state, _ = state_and_table(window(3, [0, 0], [0, 0]), window(8, [0, 0], [0, 0]))
    _, table = state_and_table(window(2, [0, 0], [0, 0]), window(3, [0, 0], [0, 0]))
    with pytest.raises(ShardError) as caught:
        rank_candidates(state, table, examples=range(1), n_best_size=20, max_answer_length=30)
    assert caught.value.message == ("of 2 windows, 1 are missing (2) and 1 are not of this data set (8)")


def test_windows_of_another_example_are_named() -> None:
    state, _ = state_and_table(window(3, [0, 0], [0, 0], example=4))
    _, table = state_and_table(window(3, [0, 0], [0, 0]))
    with pytest.raises(ShardError, match=r"1 windows are of another example \(3\)"):
        rank_candidates(state, table, examples=range(1), n_best_size=20, max_answer_length=30)


def test_more_examples_in_the_windows_than_there_are_is_an_error() -> None:
    with pytest.raises(ShardError, match="the records and the 1 examples from 0 on do not belong together"):
        rank(window(0, [0, 0], [0, 0], example=1), examples=range(1))


def test_a_position_behind_the_last_token_of_its_window_is_an_error() -> None:
    state, _ = state_and_table(window(3, [0, 0, 0], [0, 0, 0]))
    _, table = state_and_table(window(3, [0, 0], [0, 0]))
    with pytest.raises(ShardError, match=r"1 records point behind the last token of their window \(3\)"):
        rank_candidates(state, table, examples=range(1), n_best_size=2, max_answer_length=30)


@pytest.mark.parametrize("field", ["start_logits", "null_end_logit"])
def test_a_record_with_a_logit_that_is_not_a_number_is_an_error_that_names_its_window(field: str) -> None:
    state, table = state_and_table(window(3, [0, 0], [0, 0]))
    records = state.records.copy()
    records[field] = np.nan
    with pytest.raises(NumericalError) as caught:
        rank_candidates(MergeState(records), table, examples=range(1), n_best_size=2, max_answer_length=30)
    assert caught.value.where == "window 3"


def test_a_record_that_is_not_in_order_is_an_error_that_names_its_window() -> None:
    state, table = state_and_table(window(3, [0, 5], [0, 0]))
    records = state.records.copy()
    records["start_logits"][:, :2] = records["start_logits"][:, 1::-1]
    with pytest.raises(ShardError, match=r"1 records are not in order, best first \(3\)"):
        rank_candidates(MergeState(records), table, examples=range(1), n_best_size=2, max_answer_length=30)


def test_a_score_beyond_float32_is_an_error_that_names_the_window() -> None:
    with pytest.raises(NumericalError) as caught:
        rank(window(5, [0, 3e38], [0, 3e38]))
    assert caught.value.where == "window 5"


def test_a_window_table_that_is_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="data set's order"):
        state_and_table(window(3, [0, 0], [0, 0]), window(2, [0, 0], [0, 0]))


def test_a_window_table_whose_arrays_do_not_fit_is_refused() -> None:
    _, table = state_and_table(window(3, [0, 0], [0, 0]))
    with pytest.raises(ValueError, match=r"lengths differ: windows \[1\], tokens \[2, 3\]"):
        replace(table, max_context=np.ones(3, dtype=np.bool_))


def test_a_null_outside_of_its_window_is_refused() -> None:
    _, table = state_and_table(window(3, [0, 0], [0, 0]))
    with pytest.raises(ValueError, match="cls_index must be a position in its window"):
        replace(table, cls_index=np.array([2]))

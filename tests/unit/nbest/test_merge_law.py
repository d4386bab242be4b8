"""Whatever the sharding, the order of arrival and the tree of merges: the answers of one process."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from plain_nbest import Answer

from rankfold.errors import ShardError
from rankfold.nbest.merge import MergeState, merge
from rankfold.nbest.records import WINDOW_RECORD, records_from_bytes, records_to_bytes

from . import oracle
from .cases import Sharding, cases, extract, finalised, real_answers, written
from .flawed import Flaw, flawed_answers
from .oracle import Case

Evaluate = Callable[[Case, Sharding], list[Answer]]


def check(evaluate: Evaluate) -> None:
    """Run the property: answers equal the oracle's bit for bit, probabilities to 12 digits."""

    # Derandomised and without shrinking: a flawed merge needs one counterexample, not the smallest.
    @settings(max_examples=400, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(cases())
    def answers_equal_the_oracles(drawn: tuple[Case, Sharding]) -> None:
        case, sharding = drawn
        found, expected = evaluate(case, sharding), oracle.answers(case)
        np.testing.assert_allclose(probabilities(found), probabilities(expected), rtol=1e-12)
        # As text, so that -0.0 is not 0.0.
        assert without_probabilities(found) == without_probabilities(expected)

    answers_equal_the_oracles()


def probabilities(answers: list[Answer]) -> list[float]:
    return [row["probability"] for answer in answers for row in [answer, *answer["nbest"]]]


def without_probabilities(answers: list[Answer]) -> str:
    plain = [
        {**answer, "probability": None, "nbest": [{**row, "probability": None} for row in answer["nbest"]]}
        for answer in answers
    ]
    return json.dumps(plain, indent=1, allow_nan=False, sort_keys=True)


def test_any_sharding_gives_the_answers_of_the_definition() -> None:
    check(real_answers)


def test_a_merge_of_spans_without_a_flaw_satisfies_the_same_property() -> None:
    check(partial(flawed_answers, flaw=Flaw()))


@pytest.mark.parametrize(
    "flaw",
    [
        Flaw(keeps_duplicates=True),
        Flaw(breaks_ties_by_arrival=True),
        Flaw(finalises_early=True),
    ],
    ids=str,
)
def test_the_property_catches_a_flawed_merge(flaw: Flaw) -> None:
    with pytest.raises(AssertionError):
        check(partial(flawed_answers, flaw=flaw))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_every_sharding_gives_the_same_bytes(drawn: tuple[Case, Sharding]) -> None:
    case, sharding = drawn
    random = Random(sharding.seed)
    whole = MergeState.of([extract(case, tuple(range(len(case.windows))), sharding, random)])
    parts = [extract(case, rows, sharding, random) for rows in sharding.arrivals]
    merged = MergeState.of([records_from_bytes(records_to_bytes(part), where="") for part in parts])
    assert merged.records.tobytes() == whole.records.tobytes()
    assert json.dumps(finalised(case, merged)) == json.dumps(finalised(case, whole))


@settings(max_examples=100, deadline=None)
@given(cases(), st.data())
def test_ranges_of_examples_by_themselves_give_the_bytes_of_all_at_once(
    drawn: tuple[Case, Sharding], data: st.DataObject
) -> None:
    case, sharding = drawn
    random = Random(sharding.seed)
    state = MergeState.of([extract(case, rows, sharding, random) for rows in sharding.arrivals])
    num_examples = len(case.contexts)
    cuts = sorted(data.draw(st.lists(st.integers(0, num_examples), max_size=3)))
    ranges = [range(start, stop) for start, stop in pairwise([0, *cuts, num_examples])]
    parts = zip(*(written(case, state, examples) for examples in ranges), strict=True)
    assert tuple(map(b"".join, parts)) == written(case, state, range(num_examples))


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(1, 20), st.integers(1, 8))
def test_other_limits_need_no_other_records(
    drawn: tuple[Case, Sharding], n_best_size: int, max_answer_length: int
) -> None:
    case, sharding = drawn
    records = extract(case, tuple(range(len(case.windows))), sharding, Random(sharding.seed))
    stricter = replace(
        case, n_best_size=min(case.n_best_size, n_best_size), max_answer_length=max_answer_length
    )
    found, expected = finalised(stricter, MergeState.of([records])), oracle.answers(stricter)
    assert without_probabilities(found) == without_probabilities(expected)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_merging_is_associative_commutative_and_idempotent(drawn: tuple[Case, Sharding]) -> None:
    case, sharding = drawn
    random = Random(sharding.seed)
    rows = range(len(case.windows))
    a, b, c = (
        MergeState.of([extract(case, tuple(random.choices(rows, k=3)) if rows else (), sharding, random)])
        for _ in range(3)
    )
    assert bytes_of(merge(merge(a, b), c)) == bytes_of(merge(a, merge(b, c)))
    assert bytes_of(merge(a, b)) == bytes_of(merge(b, a))
    assert bytes_of(merge(a, a)) == bytes_of(a)


def test_a_state_knows_the_windows_it_has_seen() -> None:
    records = np.zeros(3, WINDOW_RECORD)
    records["window_id"] = (9, 2, 9)
    assert MergeState.of([records]).window_ids.tolist() == [2, 9]
    assert MergeState.of([]).window_ids.tolist() == []


def test_one_part_in_order_is_not_copied() -> None:
    records = np.zeros(3, WINDOW_RECORD)
    records["window_id"] = (2, 4, 9)
    assert np.shares_memory(MergeState.of([records]).records, records)
    assert records.flags.writeable


def test_parts_that_follow_one_another_are_joined_in_their_order() -> None:
    a, b = np.zeros(2, WINDOW_RECORD), np.zeros(2, WINDOW_RECORD)
    a["window_id"], b["window_id"] = (7, 8), (1, 3)
    assert MergeState.of([a, b[:0], b]).window_ids.tolist() == [1, 3, 7, 8]


def test_a_state_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        MergeState.of([np.zeros(1, WINDOW_RECORD)]).records["window_id"] = 1


def test_the_records_of_some_examples_are_a_view_where_they_stand_together() -> None:
    records = np.zeros(5, WINDOW_RECORD)
    records["window_id"], records["example_index"] = range(5), (3, 4, 4, 5, 7)
    state = MergeState.of([records])
    part = state.of_examples(range(4, 6))
    assert part.window_ids.tolist() == [1, 2, 3]
    assert np.shares_memory(part.records, records)
    assert state.of_examples(range(6, 7)).window_ids.tolist() == []


def test_the_records_of_some_examples_are_found_wherever_they_stand() -> None:
    records = np.zeros(4, WINDOW_RECORD)
    records["window_id"], records["example_index"] = range(4), (3, 4, 3, 0)
    assert MergeState.of([records]).of_examples(range(3, 4)).window_ids.tolist() == [0, 2]


def test_different_records_of_one_window_are_an_error_that_names_it() -> None:
    a, b = np.zeros(2, WINDOW_RECORD), np.zeros(2, WINDOW_RECORD)
    a["window_id"], b["window_id"] = (4, 7), (7, 8)
    b["null_end_logit"] = (0.5, 0)
    with pytest.raises(ShardError) as caught:
        merge(MergeState.of([a]), MergeState.of([b]))
    assert caught.value.message == "duplicate conflicting: different records of window 7"


def test_a_conflict_of_many_windows_names_the_first_ten() -> None:
    a, b = np.zeros(12, WINDOW_RECORD), np.zeros(12, WINDOW_RECORD)
    a["window_id"] = b["window_id"] = np.arange(12)
    b["flags"] = 1
    with pytest.raises(ShardError, match="window 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"):
        MergeState.of([a, b])


def bytes_of(state: MergeState) -> bytes:
    return state.records.tobytes()

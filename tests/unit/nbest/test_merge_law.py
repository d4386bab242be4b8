"""Whatever the sharding, the order of arrival and the tree of merges: the answers of one process."""

import json
from collections.abc import Callable
from functools import partial
from random import Random

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from rankfold.errors import ShardError
from rankfold.nbest.merge import MergeState, merge
from rankfold.nbest.records import WINDOW_RECORD, records_from_bytes, records_to_bytes

from . import oracle
from .cases import Sharding, cases, extract, finalised, real_answers
from .flawed import Flaw, flawed_answers
from .oracle import Answer, Case

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
    return json.dumps(plain, indent=1, allow_nan=False)


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

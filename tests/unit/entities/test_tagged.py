"""From records of windows to the entities of examples."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Span
from rankfold.entities.tagged import TaggedEntities, entities_of_examples
from rankfold.errors import ShardError
from rankfold.nbest.entity_records import CANDIDATE, ENTITY_RECORD, PREDICTED, EntityRecords, pack_flags

LABELS = ["person", "place"]
EXAMPLE_OF_WINDOW = np.array([5, 5, 6, 8])
"""Windows 20 to 23; example 7 has none."""
BOTH = PREDICTED | CANDIDATE

Claim = tuple[int, int, int, int, float, int]
"""Window, start, end, label, probability, marks."""


def records(*rows: Claim, example_of_window: npt.NDArray[np.int64] = EXAMPLE_OF_WINDOW) -> EntityRecords:
    made = np.zeros(len(rows), ENTITY_RECORD)
    for place, (window, start, end, label, probability, marks) in enumerate(rows):
        example = example_of_window[window - 20]
        flags = pack_flags(np.array(marks), 3)
        made[place] = (window, example, start, end, math.log(probability), label, flags)
    return made


def entities(found: EntityRecords, **values: Any) -> list[TaggedEntities]:
    settings: dict[str, Any] = {"first_window": 20, "examples": range(5, 9), "n_best_size": 3} | values
    windows = settings.pop("windows", EXAMPLE_OF_WINDOW)
    return list(entities_of_examples(found, windows, LABELS, **settings))


def spans(candidates: Any) -> list[Span]:
    return [candidate.span for candidate in candidates]


def test_every_example_gets_what_its_windows_claim_with_probabilities() -> None:
    found = entities(
        records((23, 0, 2, 0, 0.5, BOTH), (20, 4, 6, 1, 0.9, BOTH), (21, 1, 2, 0, 0.25, CANDIDATE))
    )
    assert [spans(one.predicted) for one in found] == [[Span(4, 6, "place")], [], [], [Span(0, 2, "person")]]
    assert spans(found[0].candidates) == [Span(4, 6, "place"), Span(1, 2, "person")]
    assert found[0].candidates[1].score == pytest.approx(0.25)
    assert found[0].predicted[0].score == found[0].candidates[0].score == pytest.approx(0.9)


def test_the_n_best_of_all_windows_are_the_candidates() -> None:
    rows = [(20 + place % 2, place, place + 1, 0, 0.9 - place / 10, CANDIDATE) for place in range(6)]
    assert spans(entities(records(*rows))[0].candidates) == [Span(p, p + 1, "person") for p in range(3)]
    assert len(entities(records(*rows), n_best_size=1)[0].candidates) == 1


def test_of_predicted_spans_that_overlap_the_best_stays_and_the_rest_comes_by_position() -> None:
    found = entities(
        records(
            (20, 10, 20, 0, 0.8, PREDICTED),
            (20, 0, 5, 0, 0.3, PREDICTED),
            (21, 15, 25, 1, 0.7, PREDICTED),
            (21, 20, 22, 1, 0.6, PREDICTED),
            (21, 4, 11, 1, 0.5, PREDICTED),
        )
    )
    assert spans(found[0].predicted) == [Span(0, 5, "person"), Span(10, 20, "person"), Span(20, 22, "place")]


def test_what_is_only_predicted_is_no_candidate() -> None:
    (found, *_) = entities(records((20, 0, 5, 0, 0.3, PREDICTED)))
    assert found.candidates == ()


CLAIMS = st.lists(
    st.builds(
        lambda window, start, length, *rest: (window, start, start + length, *rest),
        st.sampled_from([20, 21, 22, 23]),
        st.integers(0, 8),
        st.integers(1, 4),
        st.integers(0, 1),
        st.sampled_from([0.1, 0.2, 0.7]),
        st.sampled_from([PREDICTED, CANDIDATE, BOTH]),
    ),
    max_size=14,
    unique_by=lambda row: (EXAMPLE_OF_WINDOW[row[0] - 20], *row[1:4]),
)


@given(claims=CLAIMS, random=st.randoms())
def test_neither_the_order_of_the_records_nor_the_cut_into_ranges_changes_anything(
    claims: list[Claim], random: Any
) -> None:
    expected = entities(records(*claims))
    random.shuffle(claims)
    made = records(*claims)
    assert entities(made) == expected
    in_parts = [
        *entities(made, windows=EXAMPLE_OF_WINDOW[:2], examples=range(5, 6)),
        *entities(made, windows=EXAMPLE_OF_WINDOW[2:], examples=range(6, 9), first_window=22),
    ]
    assert in_parts == expected


@given(claims=CLAIMS)
def test_predicted_spans_never_overlap_and_each_that_is_missing_overlaps_a_better_one(
    claims: list[Claim],
) -> None:
    rows = {claim[1:4]: claim for claim in claims}.values()
    one = np.full(4, 5)
    kept = entities(records(*rows, example_of_window=one), windows=one, examples=range(5, 6))[0].predicted
    for left, right in pairwise(kept):
        assert left.span.end <= right.span.start
    for _, start, end, label, probability, marks in rows:
        if marks & PREDICTED and Span(start, end, LABELS[label]) not in spans(kept):
            in_the_way = [one for one in kept if one.span.start < end and start < one.span.end]
            better = [(-round(one.score, 3), one.span) for one in in_the_way]
            assert min(better) < (-probability, Span(start, end, LABELS[label]))


def test_records_of_another_example_or_label_are_refused() -> None:
    made = records((20, 0, 5, 0, 0.3, BOTH), (22, 0, 5, 0, 0.3, BOTH))
    made["example_index"][1] = 5
    with pytest.raises(ShardError, match="1 records are not of this data set, the first of window 22"):
        entities(made)
    with pytest.raises(ShardError, match="a label beyond 2"):
        entities(records((20, 0, 5, 2, 0.3, BOTH)))


def test_more_candidates_than_were_kept_of_a_window_are_refused() -> None:
    with pytest.raises(ShardError, match="the records keep 3 spans of a window"):
        entities(records((20, 0, 5, 0, 0.3, BOTH)), n_best_size=4)

"""n-best spans: weights of sequences, and an order that nothing can disturb."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Span
from rankfold.entities.candidates import (
    Mode,
    ScoredSequence,
    SpanCandidate,
    best_sequence,
    nbest_row,
    span_candidates,
)
from rankfold.entities.prompt import ENGLISH, answer_text
from rankfold.errors import NumericalError, ShardError

TEXT = "Ann in Ulm"
ANN, ULM = Span(0, 3, "person"), Span(7, 10, "place")
LABELS = ("person", "place")


def sequence(index: int, score: float, *spans: Span) -> ScoredSequence:
    return ScoredSequence(answer_text(spans, TEXT, ENGLISH), score, index)


def candidates(
    sequences: list[ScoredSequence], mode: Mode, n_best_size: int = 20
) -> tuple[SpanCandidate, ...]:
    return span_candidates(sequences, TEXT, mode=mode, words=ENGLISH, labels=LABELS, n_best_size=n_best_size)


def scores(sequences: list[ScoredSequence], mode: Mode) -> dict[Span, float]:
    return {candidate.span: candidate.score for candidate in candidates(sequences, mode)}


def test_with_beams_a_span_has_the_share_of_probability_that_claims_it() -> None:
    beams = [
        sequence(0, math.log(0.5), ANN, ULM),
        sequence(1, math.log(0.2), ANN),
        sequence(2, math.log(0.1)),
    ]
    assert scores(beams, "beams") == pytest.approx({ANN: 0.7 / 0.8, ULM: 0.5 / 0.8})


def test_with_beams_a_text_that_comes_twice_counts_once_at_its_best() -> None:
    beams = [
        sequence(0, math.log(0.4), ANN),
        sequence(1, math.log(0.3), ANN),
        sequence(2, math.log(0.4), ULM),
    ]
    assert scores(beams, "beams") == pytest.approx({ANN: 0.5, ULM: 0.5})


def test_with_samples_equal_texts_are_so_many_votes() -> None:
    samples = [sequence(0, -1.0, ANN), sequence(1, -9.0, ANN), sequence(2, -5.0, ULM), sequence(3, -2.0)]
    assert scores(samples, "samples") == {ANN: 0.5, ULM: 0.25}


def test_a_sequence_that_cannot_be_parsed_weighs_against_every_span() -> None:
    samples = [sequence(0, -1.0, ANN), ScoredSequence("what?", -1.0, 1)]
    assert scores(samples, "samples") == {ANN: 0.5}


def test_a_span_that_one_sequence_names_twice_is_claimed_once() -> None:
    twice = ScoredSequence('{"text": "Ann", "label": "person"}' * 2, -1.0, 0)
    assert scores([twice], "beams") == {ANN: 1.0}


def test_probabilities_too_small_for_a_float_still_have_shares() -> None:
    beams = [sequence(0, -5000.0, ANN), sequence(1, -5000.0 + math.log(3), ULM)]
    assert scores(beams, "beams") == pytest.approx({ANN: 0.25, ULM: 0.75})


def test_equal_scores_are_ordered_by_position_and_label_and_cut_to_the_best() -> None:
    other = Span(0, 3, "place")
    samples = [sequence(0, -1.0, ULM), sequence(1, -1.0, other), sequence(2, -1.0, ANN)]
    assert [candidate.span for candidate in candidates(samples, "samples")] == [ANN, other, ULM]
    assert [candidate.span for candidate in candidates(samples, "samples", 2)] == [ANN, other]


spans = st.lists(st.sampled_from([ANN, ULM, Span(0, 3, "place"), Span(0, 10, "place")]), max_size=3)
beams_of = st.lists(st.tuples(st.floats(-40, 0), spans), min_size=1, max_size=8).map(
    lambda drawn: [sequence(index, score, *found) for index, (score, found) in enumerate(drawn)]
)


@given(beams_of, st.randoms(use_true_random=False), st.sampled_from(["beams", "samples"]))
def test_arrival_order_and_double_delivery_change_nothing(
    sequences: list[ScoredSequence], random: object, mode: Mode
) -> None:
    shuffled = [*sequences, *sequences[::2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert candidates(shuffled, mode) == candidates(sequences, mode)
    assert best_sequence(shuffled) == best_sequence(sequences)


@given(beams_of, st.sampled_from(["beams", "samples"]))
def test_scores_are_shares(sequences: list[ScoredSequence], mode: Mode) -> None:
    found = [candidate.score for candidate in candidates(sequences, mode)]
    assert all(0 < score <= 1 for score in found)
    assert found == sorted(found, reverse=True)


def test_the_best_sequence_is_the_most_probable_and_the_first_of_equals() -> None:
    first, second = sequence(1, -2.0, ANN), sequence(2, -2.0, ULM)
    assert best_sequence([second, sequence(0, -3.0), first]) == first


def test_two_different_sequences_with_one_index_are_an_error() -> None:
    with pytest.raises(ShardError) as caught:
        candidates([sequence(3, -1.0, ANN), sequence(3, -1.0, ULM)], "samples")
    assert str(caught.value) == ("two different sequences have the index 3\n  → Evaluate this text again.")


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_an_error(score: float) -> None:
    with pytest.raises(NumericalError, match=f"the log-probability of sequence 4 is {score}"):
        candidates([sequence(4, score, ANN)], "beams")


def test_a_line_of_the_nbest_file_has_text_label_offsets_and_score() -> None:
    assert nbest_row("7", TEXT, [SpanCandidate(ULM, 0.5)]) == {
        "id": "7",
        "nbest": [{"text": "Ulm", "label": "place", "start": 7, "end": 10, "score": 0.5}],
    }
    assert nbest_row("8", TEXT, []) == {"id": "8", "nbest": []}

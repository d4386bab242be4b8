"""n-best spans: weights of sequences, and an order that nothing can disturb."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Span
from rankfold.entities import candidates as candidates_module
from rankfold.entities.candidates import (
    Mode,
    ScoredSequence,
    SpanCandidate,
    read_sequences,
)
from rankfold.entities.parse import GeneratedEntity, ParseResult, parse_entities
from rankfold.entities.prompt import ENGLISH, Wording, answer_text
from rankfold.entities.rows import nbest_row
from rankfold.errors import NumericalError, ShardError

TEXT = "Ann in Ulm"
ANN, ULM = Span(0, 3, "person"), Span(7, 10, "place")
LABELS = ("person", "place")


def sequence(index: int, score: float, *spans: Span) -> ScoredSequence:
    return ScoredSequence(answer_text(spans, TEXT, ENGLISH), score, index)


def candidates(
    sequences: list[ScoredSequence], mode: Mode, n_best_size: int = 20
) -> tuple[SpanCandidate, ...]:
    reading = read_sequences(sequences, TEXT, mode=mode, words=ENGLISH, labels=LABELS)
    return reading.candidates[:n_best_size]


def scores(sequences: list[ScoredSequence], mode: Mode) -> dict[Span, float]:
    return {candidate.span: candidate.score for candidate in candidates(sequences, mode)}


def test_with_beams_a_span_has_the_share_of_probability_that_claims_it() -> None:
    beams = [
        sequence(0, math.log(0.5), ANN, ULM),
        sequence(1, math.log(0.2), ANN),
        sequence(2, math.log(0.1)),
    ]
    assert scores(beams, "beams") == pytest.approx({ANN: 0.7 / 0.8, ULM: 0.5 / 0.8})


def test_with_beams_equal_texts_of_different_tokens_add_their_probabilities() -> None:
    beams = [
        sequence(0, math.log(0.4), ANN),
        sequence(1, math.log(0.3), ANN),
        sequence(2, math.log(0.3), ULM),
    ]
    assert scores(beams, "beams") == pytest.approx({ANN: 0.7, ULM: 0.3})


def test_with_beams_a_score_is_the_logsumexp_of_the_sequences_that_claim_it() -> None:
    logs = [-3.1, -700.0, -701.5]
    beams = [sequence(0, logs[0]), sequence(1, logs[1], ANN), sequence(2, logs[2], ANN)]
    claimed = logs[1] + math.log1p(math.exp(logs[2] - logs[1]))
    assert math.log(scores(beams, "beams")[ANN]) == pytest.approx(claimed - logs[0])


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


def test_every_predicted_span_has_a_score_however_few_candidates_are_kept() -> None:
    names = [f"name{number:02}" for number in range(30)]
    text = " ".join(names)
    found = [Span(text.index(name), text.index(name) + 6, "person") for name in names]
    sequences = [ScoredSequence(answer_text(found, text, ENGLISH), -1.0, 0)]
    reading = read_sequences(sequences, text, mode="beams", words=ENGLISH, labels=LABELS)
    assert [candidate.span for candidate in reading.predicted] == found
    assert [candidate.span for candidate in reading.candidates] == found


def test_the_prediction_is_what_the_most_probable_sequence_says() -> None:
    nowhere = '{"text": "Rome", "label": "place"}'
    sequences = [sequence(0, -2.0, ULM), ScoredSequence(sequence(1, -1.0, ANN).text + nowhere, -1.0, 1)]
    reading = read_sequences(sequences, TEXT, mode="samples", words=ENGLISH, labels=LABELS)
    assert ([one.span for one in reading.predicted], reading.parse_failure) == ([ANN], False)
    assert reading.invented == (GeneratedEntity("Rome", "place"),)
    assert {candidate.span for candidate in reading.candidates} == {ANN, ULM}


@pytest.mark.parametrize("mode", ["beams", "samples"])
def test_each_distinct_text_is_parsed_once(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def spy(generated: str, words: Wording) -> ParseResult:
        parsed.append(generated)
        return parse_entities(generated, words)

    monkeypatch.setattr(candidates_module, "parse_entities", spy)
    sequences = [sequence(0, -1.0, ANN), sequence(1, -2.0, ULM), sequence(2, -3.0, ANN)]
    read_sequences(sequences, TEXT, mode=mode, words=ENGLISH, labels=LABELS)
    assert sorted(parsed) == sorted({one.text for one in sequences})


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
    once, again = (
        read_sequences(some, TEXT, mode=mode, words=ENGLISH, labels=LABELS) for some in (sequences, shuffled)
    )
    assert once == again


@given(beams_of, st.sampled_from(["beams", "samples"]))
def test_scores_are_shares(sequences: list[ScoredSequence], mode: Mode) -> None:
    found = [candidate.score for candidate in candidates(sequences, mode)]
    assert all(0 < score <= 1 for score in found)
    assert found == sorted(found, reverse=True)


def test_the_best_sequence_is_the_most_probable_and_the_first_of_equals() -> None:
    first, second = sequence(1, -2.0, ANN), sequence(2, -2.0, ULM)
    reading = read_sequences(
        [second, sequence(0, -3.0), first], TEXT, mode="beams", words=ENGLISH, labels=LABELS
    )
    assert [one.span for one in reading.predicted] == [ANN]


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


def test_a_line_of_the_nbest_file_tells_probabilities_from_votes() -> None:
    assert nbest_row("8", TEXT, [], mode="samples") == {"id": "8", "mode": "samples", "nbest": []}

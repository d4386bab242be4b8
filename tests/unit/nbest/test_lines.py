"""What is written reads back as exactly what was computed."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import QuestionExample
from rankfold.nbest.candidates import CANDIDATE
from rankfold.nbest.finalise import Answers
from rankfold.nbest.lines import nbest_lines, prediction_lines

logits = st.floats(width=32, allow_nan=False, allow_infinity=False)


def question(id: str = "q", context: str = "Ulm") -> QuestionExample:
    return QuestionExample(id, "?", context, ())


def answers(*rows: tuple[int, int, float, float, float], probability: float = 0.5) -> Answers:
    """One example's candidates: first character, character after the last, logits, score."""
    nbest = np.zeros(len(rows), CANDIDATE)
    for place, row in enumerate(rows):
        nbest[place] = (0, *row)
    nothing = np.full(1, np.nan)
    return Answers(
        nbest, np.full(len(rows), probability), np.array([0, len(rows)]), np.array([0]), nothing, nothing
    )


def test_a_line_holds_the_id_and_the_candidates_best_first() -> None:
    line = nbest_lines(answers((0, 3, 1.5, 0.25, 1.75), (-1, -1, 0, 0, 0)), [question()])
    assert line.decode() == (
        '{"id": "q", "nbest": [{"text": "Ulm", "start": 0, "end": 3, "probability": 0.5, '
        '"score": 1.75, "start_logit": 1.5, "end_logit": 0.25}, {"text": "", "start": null, "end": null, '
        '"probability": 0.5, "score": 0.0, "start_logit": 0.0, "end_logit": 0.0}]}\n'
    )


@given(logits, logits, logits, st.floats(0, 1))
def test_every_number_reads_back_as_the_same_bits(
    score: float, start_logit: float, end_logit: float, probability: float
) -> None:
    written = answers((0, 1, start_logit, end_logit, score), probability=probability)
    (row,) = json.loads(nbest_lines(written, [question()]))["nbest"]
    read = [row["score"], row["start_logit"], row["end_logit"], row["probability"]]
    # As text, so that -0.0 is not 0.0 and 1 is not 1.0.
    assert repr(read) == repr([score, start_logit, end_logit, probability])


@given(*2 * [st.text(st.characters(exclude_categories=["Cs"]))])
def test_any_text_reads_back_and_stays_on_one_line(id: str, context: str) -> None:
    questions = [question(id, context)]
    line = nbest_lines(answers((0, len(context), 0, 0, 0)), questions)
    assert (line.count(b"\n"), json.loads(line)["nbest"][0]["text"]) == (1, context)
    members = prediction_lines([context], questions)
    assert (members.count(b"\n"), json.loads(b"{" + members + b"}")) == (1, {id: context})


def test_what_is_not_ascii_is_written_as_it_is() -> None:
    assert '"İ中"'.encode() in nbest_lines(answers((0, 2, 0, 0, 0)), [question(context="İ中文")])
    assert prediction_lines(["中"], [question("文")]).decode() == '"文": "中"\n'


def test_no_examples_make_no_lines() -> None:
    none, floats = np.zeros(0, np.int64), np.zeros(0)
    nobody = Answers(np.zeros(0, CANDIDATE), floats, np.zeros(1, np.int64), none, floats, floats)
    assert (nbest_lines(nobody, []), prediction_lines([], [])) == (b"", b"")


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_json_cannot_hold_is_refused(broken: float) -> None:
    with pytest.raises(ValueError, match="NaN and infinity cannot be written as JSON"):
        nbest_lines(answers((0, 1, 0, broken, 0)), [question()])
    with pytest.raises(ValueError, match="NaN and infinity cannot be written as JSON"):
        nbest_lines(answers((0, 1, 0, 0, 0), probability=broken), [question()])


def test_examples_that_were_not_ranked_are_refused() -> None:
    with pytest.raises(ValueError, match="2 examples, but 1 were ranked"):
        nbest_lines(answers((0, 1, 0, 0, 0)), [question(), question()])

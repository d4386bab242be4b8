"""The answers as plain columns, for whoever writes or compares them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.data.examples import QuestionExample
from rankfold.nbest.candidates import NOWHERE
from rankfold.nbest.finalise import NOTHING, Answers


@dataclass(frozen=True)
class Predictions:
    """One value an example: the answer, its characters in the context, how sure it is.

    Where nothing was found or the null won, the text is "" and start and end are None. A probability is
    the answer's own, 0 where there was no candidate at all. The differences are None where there is
    nothing to compare.
    """

    texts: list[str]
    starts: list[int | None]
    ends: list[int | None]
    probabilities: list[float]
    null_score_differences: list[float | None]


def predictions(answers: Answers, examples: Sequence[QuestionExample]) -> Predictions:
    """Cut the answers out of the contexts.

    Raises:
        ValueError: `examples` are not those of the answers.
    """
    check_examples(answers, examples)
    exists = answers.chosen != NOTHING
    chosen = np.full(len(examples), NOWHERE)
    chosen[exists] = answers.nbest[answers.chosen[exists]]
    probabilities = np.zeros(len(examples))
    probabilities[exists] = answers.probabilities[answers.chosen[exists]]
    starts, ends = chosen["start_char"], chosen["end_char"]
    slices = zip(examples, starts.tolist(), ends.tolist(), strict=True)
    return Predictions(
        texts=[example.context[start:end] if start >= 0 else "" for example, start, end in slices],
        starts=_or_none(starts, starts < 0),
        ends=_or_none(ends, starts < 0),
        probabilities=probabilities.tolist(),
        null_score_differences=_or_none(
            answers.null_score_differences, np.isnan(answers.null_score_differences)
        ),
    )


def check_examples(answers: Answers, examples: Sequence[QuestionExample]) -> None:
    """Raise ValueError unless there are as many examples as were answered."""
    if len(examples) != len(answers.chosen):
        raise ValueError(f"{len(examples)} examples, but {len(answers.chosen)} were ranked")


def _or_none(values: npt.NDArray[Any], absent: npt.NDArray[np.bool_]) -> list[Any]:
    pairs = zip(values.tolist(), absent.tolist(), strict=True)
    return [None if is_absent else value for value, is_absent in pairs]

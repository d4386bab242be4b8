"""The answers as plain columns, for whoever writes or compares them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.data.examples import QuestionExample
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
    starts = _of_chosen(answers, answers.nbest["start_char"], absent=-1)
    ends = _of_chosen(answers, answers.nbest["end_char"], absent=-1)
    differences = answers.null_score_differences
    slices = zip(examples, starts.tolist(), ends.tolist(), strict=True)
    return Predictions(
        texts=[example.context[start:end] for example, start, end in slices],  # "" from -1 to -1
        starts=_or_none(starts, starts < 0),
        ends=_or_none(ends, starts < 0),
        probabilities=_of_chosen(answers, answers.probabilities, absent=0).tolist(),
        null_score_differences=_or_none(differences, np.isnan(differences)),
    )


def check_examples(answers: Answers, examples: Sequence[QuestionExample]) -> None:
    """Raise ValueError unless there are as many examples as were answered."""
    if len(examples) != len(answers.chosen):
        raise ValueError(f"{len(examples)} examples, but {len(answers.chosen)} were ranked")


def _of_chosen(answers: Answers, values: npt.NDArray[Any], *, absent: int) -> npt.NDArray[Any]:
    """(num_examples,), of one value a candidate, those of the answers."""
    exists = answers.chosen != NOTHING
    found = np.full(len(exists), absent, values.dtype)
    found[exists] = values[answers.chosen[exists]]
    return found


def _or_none(values: npt.NDArray[Any], absent: npt.NDArray[np.bool_]) -> list[Any]:
    found: list[Any] = values.tolist()
    for place in np.flatnonzero(absent).tolist():
        found[place] = None
    return found

"""Answers with their n-best lists, and the forms in which they are written."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

CERTAIN_NULL = float(np.finfo(np.float32).max)
"""Null odds where there is nothing to compare the null with: scores are float32, none is larger."""


@dataclass(frozen=True)
class Candidate:
    """A possible answer: characters `start` (inclusive) to `end` (exclusive), both None for the null.

    `score` is the float32 sum of the two logits; `probability` is the softmax over the n-best list.
    """

    text: str
    start: int | None
    end: int | None
    probability: float
    score: float
    start_logit: float
    end_logit: float


@dataclass(frozen=True)
class Prediction:
    """The answer to one question, and the candidates it was chosen from, best first.

    Where nothing was found or the null won, `text` is "" and `start` and `end` are None.
    `probability` is the answer's own, 0 where there was no candidate at all. `null_score` is the
    least over the example's windows, None where it has no window.
    """

    id: str
    text: str
    start: int | None
    end: int | None
    probability: float
    null_score: float | None
    nbest: tuple[Candidate, ...]


def best_span(candidates: Iterable[Candidate]) -> Candidate | None:
    """The best candidate whose text is not empty."""
    return next((candidate for candidate in candidates if candidate.text), None)


def score_difference(null_score: float | None, best: Candidate | None) -> float:
    """Null score − best non-empty score, exact in float64; CERTAIN_NULL where there is only a null."""
    if best is None or null_score is None:
        return CERTAIN_NULL
    return null_score - best.score


def official_predictions(predictions: Iterable[Prediction]) -> dict[str, str]:
    """What SQuAD's official scripts read: id → answer."""
    return {prediction.id: prediction.text for prediction in predictions}


def nbest_row(prediction: Prediction) -> dict[str, Any]:
    """One line of `nbest.jsonl`: the id and the candidates, best first."""
    return {"id": prediction.id, "nbest": [dict(vars(candidate)) for candidate in prediction.nbest]}

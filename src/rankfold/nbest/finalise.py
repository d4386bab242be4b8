"""From ranked spans to answers: once, after every merge.

The n-best list is the `n_best_size` best candidates. For SQuAD v2 the null takes part and loses ties.
The two candidates that the answer is chosen between, the null and the best span with text, are never
cut away; for the null, the common post-processing does the same.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from rankfold.data.examples import QuestionExample
from rankfold.nbest.candidates import Candidates, Ranking
from rankfold.nbest.predictions import Candidate, Prediction, best_span, score_difference


class _Scored(NamedTuple):
    """A candidate before it has a probability."""

    text: str
    start: int | None
    end: int | None
    score: float
    start_logit: float
    end_logit: float


def finalise(
    ranking: Ranking,
    examples: Sequence[QuestionExample],
    *,
    version_2_with_negative: bool,
    null_score_diff_threshold: float = 0.0,
) -> list[Prediction]:
    """Answer every example, in order.

    v1: the best candidate. v2: the best span with text, and "" only where null − best is above the
    threshold. An example without any span is answered "", whichever the version.

    Raises:
        ValueError: `examples` are not those of the ranking.
    """
    if len(examples) != len(ranking.row_starts) - 1:
        raise ValueError(f"{len(examples)} examples, but {len(ranking.row_starts) - 1} were ranked")
    nulls = dict(zip(ranking.nulls["example_index"].tolist(), _nulls(ranking), strict=True))
    bounds = ranking.row_starts.tolist()
    answer: Candidate | None
    predictions = []
    for index, example in enumerate(examples):
        spans = _with_text(ranking.spans[bounds[index] : bounds[index + 1]], example.context)
        null = nulls.get(index)
        if version_2_with_negative and null is not None:
            nbest = _softmax(_with_null(spans, null, ranking.n_best_size))
            answer = _best_or_null(nbest, null.score, null_score_diff_threshold)
        else:
            nbest = _softmax(spans)
            answer = nbest[0] if nbest else None
        predictions.append(_prediction(example.id, answer, null, nbest))
    return predictions


def _nulls(ranking: Ranking) -> list[_Scored]:
    fields = ["score", "start_logit", "end_logit"]
    return [_Scored("", None, None, *row) for row in ranking.nulls[fields].tolist()]


def _with_text(spans: Candidates, context: str) -> list[_Scored]:
    fields = ["start_char", "end_char", "score", "start_logit", "end_logit"]
    return [_Scored(context[row[0] : row[1]], *row) for row in spans[fields].tolist()]


def _with_null(spans: list[_Scored], null: _Scored, n_best_size: int) -> list[_Scored]:
    """The null in its place by score, behind its equals, and the list cut."""
    place = sum(span.score >= null.score for span in spans)
    ranked = [*spans[:place], null, *spans[place:]]
    best = next((span for span in spans if span.text), None)
    return [
        candidate
        for rank, candidate in enumerate(ranked)
        if rank < n_best_size or candidate is null or candidate is best
    ]


def _softmax(kept: list[_Scored]) -> tuple[Candidate, ...]:
    """Probabilities over the list, best first, in float64; `fsum` makes the total exactly rounded."""
    weights = [math.exp(candidate.score - kept[0].score) for candidate in kept]
    total = math.fsum(weights)
    return tuple(
        Candidate(
            text=candidate.text,
            start=candidate.start,
            end=candidate.end,
            probability=weight / total,
            score=candidate.score,
            start_logit=candidate.start_logit,
            end_logit=candidate.end_logit,
        )
        for candidate, weight in zip(kept, weights, strict=True)
    )


def _best_or_null(nbest: tuple[Candidate, ...], null_score: float, threshold: float) -> Candidate:
    best = best_span(nbest)
    if best is None or score_difference(null_score, best) > threshold:
        return next(candidate for candidate in nbest if candidate.start is None)
    return best


def _prediction(
    example_id: str, answer: Candidate | None, null: _Scored | None, nbest: tuple[Candidate, ...]
) -> Prediction:
    return Prediction(
        id=example_id,
        text=answer.text if answer else "",
        start=answer.start if answer else None,
        end=answer.end if answer else None,
        probability=answer.probability if answer else 0.0,
        null_score=null.score if null else None,
        nbest=nbest,
    )

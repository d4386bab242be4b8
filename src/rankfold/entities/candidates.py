"""n-best spans from several sequences generated for one text."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rankfold.data.examples import Span
from rankfold.entities.align import align
from rankfold.entities.parse import parse_entities
from rankfold.entities.prompt import Wording
from rankfold.errors import NumericalError, ShardError

Mode = Literal["beams", "samples"]


@dataclass(frozen=True)
class ScoredSequence:
    """One of the sequences generated for a text.

    Attributes:
        text: What was generated.
        score: Its log-probability.
        index: Its place among the sequences of its text, from 0.
    """

    text: str
    score: float
    index: int


@dataclass(frozen=True)
class SpanCandidate:
    """A span that at least one sequence claims; `score` is between 0 and 1."""

    span: Span
    score: float


def span_candidates(
    sequences: Iterable[ScoredSequence],
    text: str,
    *,
    mode: Mode,
    words: Wording,
    labels: Collection[str],
    n_best_size: int,
) -> tuple[SpanCandidate, ...]:
    """Return the `n_best_size` best spans, by score descending, then start, end, label.

    A span's score is the weight of the sequences that claim it over the weight of all, whether they
    could be parsed or not. With beams, a sequence weighs its probability, and each distinct text counts
    once, at its best: beam search lists a text twice where only its tokens differ. With samples, a
    sequence weighs one, and equal texts are so many votes. Neither the order of the sequences nor one
    that arrives twice changes anything.

    Raises:
        NumericalError: A score is NaN or infinite.
        ShardError: Two different sequences have one index.
    """
    distinct = distinct_sequences(sequences)
    weights = _beam_weights(distinct) if mode == "beams" else _votes(distinct)
    claims: dict[Span, list[float]] = {}
    for generated, weight in weights.items():
        aligned = align(parse_entities(generated, words).entities, text, labels)
        for place in aligned.spans:  # no span twice: a mention is used once
            claims.setdefault(place.span, []).append(weight)
    # fsum rounds once, after the last term: the sum does not depend on the order.
    total = math.fsum(weights.values())
    candidates = [SpanCandidate(span, math.fsum(claim) / total) for span, claim in claims.items()]
    candidates.sort(key=lambda candidate: (-candidate.score, candidate.span))
    return tuple(candidates[:n_best_size])


def best_sequence(sequences: Iterable[ScoredSequence]) -> ScoredSequence:
    """Return the most probable sequence, the lowest index of several: its entities are the prediction.

    Raises as `span_candidates`; ValueError if there are no sequences.
    """
    return min(distinct_sequences(sequences), key=lambda sequence: (-sequence.score, sequence.index))


def nbest_row(example_id: str, text: str, candidates: Sequence[SpanCandidate]) -> dict[str, Any]:
    """Return an example's line of `nbest.jsonl`."""
    return {
        "id": example_id,
        "nbest": [
            {
                "text": text[candidate.span.start : candidate.span.end],
                "label": candidate.span.label,
                "start": candidate.span.start,
                "end": candidate.span.end,
                "score": candidate.score,
            }
            for candidate in candidates
        ],
    }


def distinct_sequences(sequences: Iterable[ScoredSequence]) -> tuple[ScoredSequence, ...]:
    """Return the sequences by index, each once; errors as `span_candidates`."""
    by_index: dict[int, ScoredSequence] = {}
    for sequence in sequences:
        if not math.isfinite(sequence.score):
            raise NumericalError(
                f"the log-probability of sequence {sequence.index} is {sequence.score}",
                remedy="Try `torch_dtype: float32` or bfloat16; float16 overflows in many models.",
            )
        if by_index.setdefault(sequence.index, sequence) != sequence:
            raise ShardError(
                f"two different sequences have the index {sequence.index}",
                remedy="Evaluate this text again.",
            )
    return tuple(by_index[index] for index in sorted(by_index))


def _beam_weights(sequences: Sequence[ScoredSequence]) -> dict[str, float]:
    best: dict[str, float] = {}
    for sequence in sequences:
        best[sequence.text] = max(sequence.score, best.get(sequence.text, -math.inf))
    # Divided by the largest, as logsumexp does, so that no probability underflows that matters.
    largest = max(best.values(), default=0.0)
    return {text: math.exp(score - largest) for text, score in best.items()}


def _votes(sequences: Sequence[ScoredSequence]) -> dict[str, float]:
    votes: dict[str, float] = {}
    for sequence in sequences:
        votes[sequence.text] = votes.get(sequence.text, 0.0) + 1.0
    return votes

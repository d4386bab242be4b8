"""n-best spans from several sequences generated for one text."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rankfold.data.examples import Span
from rankfold.entities.align import Alignment, align
from rankfold.entities.parse import GeneratedEntity, parse_entities
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


@dataclass(frozen=True)
class TextReading:
    """What the sequences generated for a text say of it.

    Attributes:
        predicted: The entities of the most probable sequence, or the first of several, by position.
        invented: Its entities that are not in the text.
        parse_failure: Nothing could be read of it.
        candidates: Every span that a sequence claims, best first.
    """

    predicted: tuple[SpanCandidate, ...]
    invented: tuple[GeneratedEntity, ...]
    parse_failure: bool
    candidates: tuple[SpanCandidate, ...]


def read_sequences(
    sequences: Iterable[ScoredSequence], text: str, *, mode: Mode, words: Wording, labels: Collection[str]
) -> TextReading:
    """Parse each distinct text once, align its entities, and score the spans.

    A span's score is the weight of the sequences that claim it over the weight of all, whether they
    could be parsed or not. With beams, a sequence weighs its probability; with samples, one vote. Each
    counts once: neither the order of the sequences nor one that arrives twice changes anything.
    Candidates are ordered by score descending, then start, end, label.

    Raises:
        NumericalError: A score is NaN or infinite.
        ShardError: Two different sequences have one index.
        ValueError: There are no sequences.
    """
    distinct = distinct_sequences(sequences)
    parsed = {generated: parse_entities(generated, words) for generated in {one.text for one in distinct}}
    aligned = {generated: align(result.entities, text, labels) for generated, result in parsed.items()}
    best = min(distinct, key=lambda sequence: (-sequence.score, sequence.index)).text
    candidates = _candidates(distinct, aligned, mode)
    spans = {place.span for place in aligned[best].spans}
    return TextReading(
        predicted=tuple(sorted((one for one in candidates if one.span in spans), key=lambda one: one.span)),
        invented=aligned[best].invented,
        parse_failure=parsed[best].failure,
        candidates=candidates,
    )


def distinct_sequences(sequences: Iterable[ScoredSequence]) -> tuple[ScoredSequence, ...]:
    """Return the sequences by index, each once; errors as `read_sequences`."""
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


def _candidates(
    sequences: Sequence[ScoredSequence], aligned: Mapping[str, Alignment], mode: Mode
) -> tuple[SpanCandidate, ...]:
    weights = _probabilities(sequences) if mode == "beams" else [1.0] * len(sequences)
    claims: dict[Span, list[float]] = {}
    for sequence, weight in zip(sequences, weights, strict=True):
        for place in aligned[sequence.text].spans:  # no span twice: a mention is used once
            claims.setdefault(place.span, []).append(weight)
    # fsum rounds once, after the last term: the sum does not depend on the order.
    total = math.fsum(weights)
    candidates = [SpanCandidate(span, math.fsum(claim) / total) for span, claim in claims.items()]
    return tuple(sorted(candidates, key=lambda candidate: (-candidate.score, candidate.span)))


def _probabilities(sequences: Sequence[ScoredSequence]) -> list[float]:
    """Return each sequence's probability over the largest.

    As logsumexp does, so that no probability underflows that matters. Sequences of equal text but other
    tokens are different things that may happen, so each adds its own.
    """
    largest = max(sequence.score for sequence in sequences)
    return [math.exp(sequence.score - largest) for sequence in sequences]

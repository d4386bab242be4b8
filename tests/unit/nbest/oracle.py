"""The definition of extractive answers, in plain Python, one window and one candidate at a time.

Written from the rules alone, so that it shares no code and no trick with what it checks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Window:
    """A window's real tokens: logits, characters in the context (None: not context), its null."""

    id: int
    example: int
    start_logits: tuple[np.float32, ...]
    end_logits: tuple[np.float32, ...]
    offsets: tuple[tuple[int, int] | None, ...]
    cls_index: int
    max_context: tuple[bool, ...] | None


@dataclass(frozen=True)
class Case:
    """A data set with a model's logits, and how its answers are to be chosen."""

    contexts: tuple[str, ...]
    windows: tuple[Window, ...]
    n_best_size: int
    max_answer_length: int
    version_2_with_negative: bool
    null_score_diff_threshold: float


@dataclass(frozen=True)
class Span:
    """A candidate; the null has no characters."""

    score: np.float32
    start_logit: np.float32
    end_logit: np.float32
    start: int | None
    end: int | None


Answer = dict[str, Any]


def answers(case: Case) -> list[Answer]:
    """The answer to every example, in order."""
    found = []
    for example in range(len(case.contexts)):
        windows = [window for window in case.windows if window.example == example]
        spans = [span for window in windows for span in window_spans(case, window)]
        found.append(finalise(case, example, in_order(spans), [null_span(window) for window in windows]))
    return found


def window_spans(case: Case, window: Window) -> list[Span]:
    """Every valid span of the window's best starts and ends, by start rank, then end rank."""
    spans = []
    for start in best_positions(window.start_logits, case.n_best_size):
        for end in best_positions(window.end_logits, case.n_best_size):
            first, last = window.offsets[start], window.offsets[end]
            if first is None or last is None:
                continue
            if end < start or end - start + 1 > case.max_answer_length:
                continue
            if window.max_context is not None and not window.max_context[start]:
                continue
            start_logit, end_logit = window.start_logits[start], window.end_logits[end]
            spans.append(Span(start_logit + end_logit, start_logit, end_logit, first[0], last[1]))
    return spans


def best_positions(logits: Sequence[np.float32], count: int) -> list[int]:
    """A stable ascending sort, reversed: of equal logits the higher position comes first."""
    ascending = sorted(range(len(logits)), key=lambda position: logits[position])
    return ascending[::-1][:count]


def null_span(window: Window) -> Span:
    start, end = window.start_logits[window.cls_index], window.end_logits[window.cls_index]
    return Span(start + end, start, end, None, None)


def in_order(spans: Iterable[Span]) -> list[Span]:
    """Score descending; equal scores keep the order they came in."""
    return sorted(spans, key=lambda span: span.score, reverse=True)


def finalise(case: Case, example: int, spans: list[Span], nulls: list[Span]) -> Answer:
    """The answer from ranked spans and the nulls of the windows, in the windows' order."""
    context = case.contexts[example]
    spans = spans[: case.n_best_size]
    best = next((span for span in spans if text_of(span, context)), None)
    null = None
    for candidate in nulls:
        if null is None or candidate.score < null.score:
            null = candidate
    if not case.version_2_with_negative or null is None:
        return answer(example, context, spans[0] if spans else None, null, spans)
    ranked = in_order([*spans, null])
    kept = ranked[: case.n_best_size]
    kept += [span for span in ranked[case.n_best_size :] if span is null or span is best]
    if best is None or float(null.score) - float(best.score) > case.null_score_diff_threshold:
        return answer(example, context, null, null, kept)
    return answer(example, context, best, null, kept)


def answer(example: int, context: str, chosen: Span | None, null: Span | None, kept: list[Span]) -> Answer:
    scores = np.array([span.score for span in kept], dtype=np.float64)
    weights = np.exp(scores - scores.max()) if kept else scores
    probabilities = weights / weights.sum()
    nbest = [
        {
            "text": text_of(span, context),
            "start": span.start,
            "end": span.end,
            "probability": float(probability),
            "score": float(span.score),
            "start_logit": float(span.start_logit),
            "end_logit": float(span.end_logit),
        }
        for span, probability in zip(kept, probabilities, strict=True)
    ]
    place = next((place for place, span in enumerate(kept) if span is chosen), None)
    return {
        "id": f"example-{example}",
        "text": text_of(chosen, context) if chosen else "",
        "start": chosen.start if chosen else None,
        "end": chosen.end if chosen else None,
        "probability": 0.0 if place is None else float(probabilities[place]),
        "null_score": float(null.score) if null else None,
        "nbest": nbest,
    }


def text_of(span: Span, context: str) -> str:
    return "" if span.start is None else context[span.start : span.end]

"""Extractive answers in plain Python, as the well-known SQuAD scripts compute them: what n-best means.

A window at a time, a candidate at a time, a dictionary a candidate. It differs from those scripts where
they leave the answer open: a window is cut to its real tokens, of equal logits the higher index comes
first, and an example's null is the least over its windows. The benchmark measures it, and the tests take
it for the definition, so it shares nothing with what it is compared with.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Offsets = Sequence[tuple[int, int] | None]
Candidate = dict[str, Any]
Answer = dict[str, Any]


def postprocess(
    contexts: Sequence[str],
    windows_of_example: Sequence[Sequence[int]],
    start_logits: Logits,
    end_logits: Logits,
    offset_mappings: Sequence[Offsets],
    cls_indexes: Sequence[int],
    *,
    n_best_size: int = 20,
    max_answer_length: int = 30,
    version_2_with_negative: bool = False,
    null_score_diff_threshold: float = 0.0,
) -> list[Answer]:
    """The answer to every example, in order; logits (num_windows, max_length) are padded on the right."""
    answers = []
    for context, windows in zip(contexts, windows_of_example, strict=True):
        candidates, nulls = [], []
        for window in windows:
            offsets = offset_mappings[window]
            starts, ends = start_logits[window][: len(offsets)], end_logits[window][: len(offsets)]
            nulls.append(null_candidate(starts, ends, cls_indexes[window]))
            candidates += window_candidates(starts, ends, offsets, n_best_size, max_answer_length)
        answers.append(
            answer(
                context,
                candidates,
                nulls,
                n_best_size=n_best_size,
                version_2_with_negative=version_2_with_negative,
                null_score_diff_threshold=null_score_diff_threshold,
            )
        )
    return answers


def window_candidates(
    start_logits: Logits,
    end_logits: Logits,
    offsets: Offsets,
    n_best_size: int,
    max_answer_length: int,
    token_is_max_context: Sequence[bool] | None = None,
) -> list[Candidate]:
    """Every valid span of the window's best starts and ends, by start rank, then end rank."""
    candidates = []
    end_indexes = best_indexes(end_logits, n_best_size)
    for start_index in best_indexes(start_logits, n_best_size):
        for end_index in end_indexes:
            first, last = offsets[start_index], offsets[end_index]
            if first is None or last is None:
                continue
            if end_index < start_index or end_index - start_index + 1 > max_answer_length:
                continue
            if token_is_max_context is not None and not token_is_max_context[start_index]:
                continue
            candidates.append(
                {
                    "start": first[0],
                    "end": last[1],
                    "score": start_logits[start_index] + end_logits[end_index],
                    "start_logit": start_logits[start_index],
                    "end_logit": end_logits[end_index],
                }
            )
    return candidates


def best_indexes(logits: Logits, n_best_size: int) -> list[int]:
    """A stable ascending sort, reversed: of equal logits the higher index comes first."""
    indexes: list[int] = np.argsort(logits, kind="stable")[: -n_best_size - 1 : -1].tolist()
    return indexes


def null_candidate(start_logits: Logits, end_logits: Logits, cls_index: int) -> Candidate:
    """What stands for "no answer"; it has no characters."""
    start_logit, end_logit = start_logits[cls_index], end_logits[cls_index]
    return {
        "start": None,
        "end": None,
        "score": start_logit + end_logit,
        "start_logit": start_logit,
        "end_logit": end_logit,
    }


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Score descending; equal scores keep the order they came in."""
    return sorted(candidates, key=lambda candidate: candidate["score"], reverse=True)


def answer(
    context: str,
    candidates: Iterable[Candidate],
    nulls: Iterable[Candidate],
    *,
    n_best_size: int,
    version_2_with_negative: bool,
    null_score_diff_threshold: float,
) -> Answer:
    """Choose the answer to one question from the candidates and nulls of its windows, in their order."""
    spans = in_order(candidates)[:n_best_size]
    best = next((span for span in spans if text_of(span, context)), None)
    null = min(nulls, key=lambda candidate: candidate["score"], default=None)
    difference = float(null["score"]) - float(best["score"]) if null and best else None
    if not version_2_with_negative or null is None:
        return _written(context, spans[0] if spans else None, null, difference, spans)
    ranked = in_order([*spans, null])
    kept = ranked[:n_best_size]
    kept += [candidate for candidate in ranked[n_best_size:] if candidate is null or candidate is best]
    is_null = difference is None or difference > null_score_diff_threshold
    return _written(context, null if is_null else best, null, difference, kept)


def text_of(candidate: Candidate, context: str) -> str:
    """The candidate's own characters of the context."""
    return "" if candidate["start"] is None else context[candidate["start"] : candidate["end"]]


def _written(
    context: str,
    chosen: Candidate | None,
    null: Candidate | None,
    difference: float | None,
    kept: list[Candidate],
) -> Answer:
    """Everything as Python's own numbers; probabilities are the softmax over the kept list."""
    scores = np.array([candidate["score"] for candidate in kept], dtype=np.float64)
    weights = np.exp(scores - scores.max()) if kept else scores
    probabilities = (weights / weights.sum()).tolist()
    nbest = [
        {
            "text": text_of(candidate, context),
            "start": candidate["start"],
            "end": candidate["end"],
            "probability": probability,
            "score": float(candidate["score"]),
            "start_logit": float(candidate["start_logit"]),
            "end_logit": float(candidate["end_logit"]),
        }
        for candidate, probability in zip(kept, probabilities, strict=True)
    ]
    place = next((place for place, candidate in enumerate(kept) if candidate is chosen), None)
    return {
        "text": text_of(chosen, context) if chosen else "",
        "start": chosen["start"] if chosen else None,
        "end": chosen["end"] if chosen else None,
        "probability": 0.0 if place is None else probabilities[place],
        "null_score": float(null["score"]) if null else None,
        "null_score_difference": difference,
        "nbest": nbest,
    }

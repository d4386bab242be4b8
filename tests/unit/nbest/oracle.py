"""The definition of extractive answers, applied to test cases.

The definition itself stands beside the benchmark, which measures what is compared with it here. It is
written from the rules alone, so that it shares no code and no trick with what it checks.
"""

from dataclasses import dataclass

import numpy as np
import plain_nbest
from plain_nbest import Answer, Candidate


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


def answers(case: Case) -> list[Answer]:
    """The answer to every example, in order."""
    return [
        answer(case, example, [window for window in case.windows if window.example == example])
        for example in range(len(case.contexts))
    ]


def answer(case: Case, example: int, windows: list[Window]) -> Answer:
    """The answer to an example from some of its windows, in the order given."""
    spans = [span for window in windows for span in window_spans(case, window)]
    chosen = plain_nbest.answer(
        case.contexts[example],
        spans,
        [null_span(window) for window in windows],
        n_best_size=case.n_best_size,
        version_2_with_negative=case.version_2_with_negative,
        null_score_diff_threshold=case.null_score_diff_threshold,
    )
    return {"id": f"example-{example}", **chosen}


def window_spans(case: Case, window: Window) -> list[Candidate]:
    return plain_nbest.window_candidates(
        np.array(window.start_logits),
        np.array(window.end_logits),
        window.offsets,
        case.n_best_size,
        case.max_answer_length,
        window.max_context,
    )


def null_span(window: Window) -> Candidate:
    return plain_nbest.null_candidate(
        np.array(window.start_logits), np.array(window.end_logits), window.cls_index
    )

"""Choosing SQuAD v2's null threshold on one part of the test set, and scoring the other."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rankfold.errors import UserError
from rankfold.metrics.answers import AnswerColumns
from rankfold.metrics.squad import best_thresholds_of
from rankfold.stages.merge import Merging
from rankfold.tasks.base import Row

KEY = "evaluation.null_score_diff_threshold"


def merge_with_best_threshold(merging: Merging, share: float, seed: int, changed: Mapping[str, Any]) -> str:
    """Merge with the threshold that gives the best F1 on a `share` of the examples; say which it is.

    Every example is answered with it, but only the others are scored: a threshold looks better than it is
    on the questions it was chosen on. All questions of a context are on one side.

    Raises:
        UserError: The data is not SQuAD v2, or a side would be empty.
    """
    if merging.settings.evaluation.version_2_with_negative is not True:
        raise UserError(
            f"a null threshold decides on questions without an answer, and {merging.run.run_id} has none",
            remedy="Leave out --tune-threshold: it is for extractive_qa with version_2_with_negative.",
        )
    tuning, num_examples = _tuning_side(merging, share, seed)
    num_tuned = len(tuning.f1)
    best = best_thresholds_of(tuning)
    threshold = best.f1_threshold
    if best.f1 <= 100 * tuning.has_answer.count(0) / num_tuned:
        # No answer at all is best, for which the official script says 0.0, which lets answers in.
        threshold = -sys.float_info.max
    facts = {KEY: threshold, "tuned_on": {"share": share, "seed": seed, "examples": num_tuned}}
    _with_threshold(merging, threshold).write_results(
        scored=lambda row: not _is_tuned_on(row, share, seed), changed={**changed, **facts}
    )
    return (
        f"{merging.variant}: {KEY} {threshold!r}, F1 {best.f1:.2f} on the {num_tuned} questions it was "
        f"chosen on; scored on the other {num_examples - num_tuned}"
    )


def _tuning_side(merging: Merging, share: float, seed: int) -> tuple[AnswerColumns, int]:
    """Return the scores of the tuning side, every question answered, and the number of all questions."""
    tuning, num_examples = AnswerColumns(), 0
    for row in _with_threshold(merging, sys.float_info.max).details():
        num_examples += 1
        if _is_tuned_on(row, share, seed):
            tuning.append_row(row)
    if not 0 < len(tuning.f1) < num_examples:
        raise UserError(
            f"a share of {share:g} puts {len(tuning.f1)} of {num_examples} questions on the tuning side",
            remedy="Choose a share nearer to 0.5, or evaluate more contexts.",
        )
    return tuning, num_examples


def _with_threshold(merging: Merging, threshold: float) -> Merging:
    recipe = merging.settings
    evaluation = recipe.evaluation.model_copy(update={"null_score_diff_threshold": threshold})
    return replace(merging, settings=recipe.model_copy(update={"evaluation": evaluation}))


def _is_tuned_on(row: Row, share: float, seed: int) -> bool:
    """By a hash of the context, so that neither order nor number of examples matters."""
    digest = hashlib.sha256(f"{seed}\0{row['context']}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64

"""`evaluate` module of SQuAD v2.0; the arithmetic is in rankfold.metrics.squad."""

from collections.abc import Mapping
from typing import Any

import evaluate

from rankfold.metrics.modules.questions import question_metric_info, to_examples, to_predictions
from rankfold.metrics.squad import squad_scores


class RankfoldSquadV2(evaluate.Metric):  # type: ignore[misc]
    """Exact match and F1 (0..100) of SQuAD v2.0, in all and with and without answers.

    `null_score_differences` (id → null score − best score of an answer with text) adds the best
    thresholds.
    """

    def _info(self) -> Any:
        return question_metric_info(
            "Exact match and F1 (0..100) of SQuAD v2.0, in all and with and without answers.",
            "Rajpurkar et al. 2018, arXiv:1806.03822",
        )

    def _compute(
        self,
        predictions: Any,
        references: Any,
        null_score_differences: Mapping[str, float] | None = None,
    ) -> dict[str, float | None]:
        scores = squad_scores(
            to_predictions(predictions),
            to_examples(references),
            version_2_with_negative=True,
            null_score_differences=null_score_differences,
        )
        return dict(scores.metrics)

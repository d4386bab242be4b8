"""`evaluate` module of CMRC 2018; the arithmetic is in rankfold.metrics.cmrc."""

from typing import Any

import evaluate

from rankfold.metrics.cmrc import cmrc_scores
from rankfold.metrics.modules.questions import question_metric_info, to_examples, to_predictions


class RankfoldCmrc(evaluate.Metric):  # type: ignore[misc]
    """Exact match and F1 (0..100) of CMRC 2018, for answers in Chinese."""

    def _info(self) -> Any:
        return question_metric_info(
            "Exact match and F1 (0..100) of CMRC 2018, for answers in Chinese.",
            "Cui et al. 2019, arXiv:1810.07366",
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float | None]:
        scores = cmrc_scores(to_predictions(predictions), to_examples(references))
        return dict(scores.metrics)

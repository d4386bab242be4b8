"""`evaluate` module of SQuAD v1.1; the arithmetic is in rankfold.metrics.squad."""

from typing import Any

import evaluate

from rankfold.metrics.modules.questions import question_metric_info, to_examples, to_predictions
from rankfold.metrics.squad import squad_scores


class RankfoldSquad(evaluate.Metric):  # type: ignore[misc]
    """Exact match and F1 (0..100) of SQuAD v1.1."""

    def _info(self) -> Any:
        return question_metric_info(
            "Exact match and F1 (0..100) of SQuAD v1.1.", "Rajpurkar et al. 2016, arXiv:1606.05250"
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float | None]:
        scores = squad_scores(
            to_predictions(predictions), to_examples(references), version_2_with_negative=False
        )
        return dict(scores.metrics)

"""`evaluate` module of classification; the arithmetic is in rankfold.metrics.classification."""

from typing import Any

import evaluate
from datasets import Features, Value

from rankfold.metrics.classification import classification_metrics, count_confusion

_INPUTS = """
Args:
    predictions: One label an example.
    references: One label an example.
    labels: Labels to list first and even where they never occur.
"""


class RankfoldClassification(evaluate.Metric):  # type: ignore[misc]
    """Accuracy, Matthews' correlation, and precision, recall and F1 (0..1) of one label an example."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Accuracy, Matthews' correlation, and precision, recall and F1 (0..1) of one label "
            "an example.",
            citation="",
            inputs_description=_INPUTS,
            features=Features({"predictions": Value("string"), "references": Value("string")}),
        )

    def _compute(self, predictions: Any, references: Any, labels: tuple[str, ...] = ()) -> dict[str, Any]:
        return classification_metrics(count_confusion(references, predictions), labels)

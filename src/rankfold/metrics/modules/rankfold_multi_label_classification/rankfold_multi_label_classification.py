"""`evaluate` module of multi-label classification; the arithmetic is in rankfold.metrics.classification."""

from typing import Any

import evaluate
from datasets import Features, List, Value

from rankfold.metrics.classification import MultiLabelCounts, count_multi_label, multi_label_metrics

_INPUTS = """
Args:
    predictions: One list of labels an example.
    references: One list of labels an example.
    labels: Labels to list first and even where they never occur.
"""


class RankfoldMultiLabelClassification(evaluate.Metric):  # type: ignore[misc]
    """Subset accuracy, and precision, recall and F1 (0..1), of any number of labels an example."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Subset accuracy, and precision, recall and F1 (0..1), of any number of labels an "
            "example.",
            citation="",
            inputs_description=_INPUTS,
            features=Features({"predictions": List(Value("string")), "references": List(Value("string"))}),
        )

    def _compute(self, predictions: Any, references: Any, labels: tuple[str, ...] = ()) -> dict[str, Any]:
        counts = map(count_multi_label, references, predictions)
        return multi_label_metrics(sum(counts, MultiLabelCounts()), labels)

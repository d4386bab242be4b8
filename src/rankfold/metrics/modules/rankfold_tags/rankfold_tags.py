"""`evaluate` module of tag sequences; the arithmetic is in rankfold.metrics.tags."""

from typing import Any

import evaluate
from datasets import Features, List, Value

from rankfold.metrics.counts import LabelCounts
from rankfold.metrics.tags import SchemeName, count_tags, tag_metrics

_INPUTS = """
Args:
    predictions: One list of tags a sequence, such as ["B-PER", "I-PER", "O"].
    references: One list of tags a sequence, of the same length.
    scheme: "IOB2", "IOE2", "IOBES", "BILOU" or "BMES" to read tags strictly; without one, leniently.
    labels: Labels to list first and even where they never occur.
"""


class RankfoldTags(evaluate.Metric):  # type: ignore[misc]
    """Precision, recall and F1 (0..1) of the entities in tag sequences, as seqeval has them."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Precision, recall and F1 (0..1) of the entities in tag sequences, as seqeval has "
            "them.",
            citation="",
            inputs_description=_INPUTS,
            features=Features({"predictions": List(Value("string")), "references": List(Value("string"))}),
        )

    def _compute(
        self,
        predictions: Any,
        references: Any,
        scheme: SchemeName | None = None,
        labels: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        counts = (
            count_tags(gold, predicted, scheme)
            for gold, predicted in zip(references, predictions, strict=True)
        )
        return tag_metrics(sum(counts, LabelCounts()), labels)

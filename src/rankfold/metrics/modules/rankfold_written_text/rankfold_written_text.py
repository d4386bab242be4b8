"""`evaluate` module of written text; the arithmetic is in rankfold.metrics.written_text."""

from typing import Any

import evaluate
from datasets import Features, Value

from rankfold.metrics.written_text import written_text_metrics

_INPUTS = """
Args:
    predictions: One text an example.
    references: One text an example.
    resamples: Bootstrap resamples behind 95 % confidence intervals; 0 leaves the intervals out.
    seed: Seed of the bootstrap.
"""


class RankfoldWrittenText(evaluate.Metric):  # type: ignore[misc]
    """chrF, BLEU and ROUGE (0..100) and the share of equal texts, for texts of any script."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="chrF and BLEU by sacrebleu, ROUGE (all 0..100) and the share of equal texts (0..1), "
            "for texts of any script.",
            citation="",
            inputs_description=_INPUTS,
            features=Features({"predictions": Value("string"), "references": Value("string")}),
        )

    def _compute(
        self, predictions: Any, references: Any, resamples: int = 0, seed: int = 0
    ) -> dict[str, Any]:
        return written_text_metrics(predictions, references, resamples=resamples, seed=seed)

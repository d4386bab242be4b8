"""`evaluate` module of language modelling; the arithmetic is in rankfold.metrics.language_modelling."""

from typing import Any

import evaluate
from datasets import Features, Value

from rankfold.metrics.language_modelling import TextLoss, language_modelling_metrics

_INPUTS = """
Args:
    predictions: What a model says of one text: the sum of −log p of its tokens in nats, `loss`, and how many
        of them it finds more probable than any other token, `num_correct`.
    references: What was scored of the text: `num_tokens`, and the text itself, whose UTF-8 bytes count;
        empty texts throughout give no bits a byte.
"""


class RankfoldPerplexity(evaluate.Metric):  # type: ignore[misc]
    """Perplexity, loss a token, token accuracy (0..1) and bits a byte, over all tokens of all texts."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Perplexity, loss a token, token accuracy (0..1) and bits a byte, over all tokens of "
            "all texts.",
            citation="",
            inputs_description=_INPUTS,
            features=Features(
                {
                    "predictions": {"loss": Value("float64"), "num_correct": Value("int64")},
                    "references": {"num_tokens": Value("int64"), "text": Value("string")},
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, Any]:
        has_texts = any(reference["text"] for reference in references)
        texts = [
            TextLoss(
                prediction["loss"],
                reference["num_tokens"],
                prediction["num_correct"],
                len(reference["text"].encode()) if has_texts else None,
            )
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        return language_modelling_metrics(texts, resamples=0, seed=0)

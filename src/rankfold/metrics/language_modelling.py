"""Scores of what a language model finds probable, from sums over texts.

Perplexity is exp of the mean −log p of a token: it can only be compared between models that cut text into the
same tokens. Bits a byte are the same sum, in bits, over the UTF-8 bytes of the texts, whatever the tokens.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankfold.metrics.bootstrap import percentile_interval, resampled_sums
from rankfold.metrics.counts import mean

LARGEST_EXPONENT = 709.0
"""exp of more is no float64; no model gets there that gives every token some probability in float32."""


@dataclass(frozen=True)
class TextLoss:
    """What a model says of one text.

    Attributes:
        loss: Sum of −log p of its scored tokens, in nats.
        num_tokens: Tokens scored.
        num_correct: Those that the model finds more probable than any other token.
        num_bytes: UTF-8 bytes of what was scored; None where not all of the text is.
    """

    loss: float
    num_tokens: int
    num_correct: int
    num_bytes: int | None = None


def perplexity(loss: float, num_tokens: int) -> float:
    """exp(loss / num_tokens) of at least one token."""
    return math.exp(min(loss / num_tokens, LARGEST_EXPONENT))


def language_modelling_metrics(texts: Iterable[TextLoss], *, resamples: int, seed: int) -> dict[str, Any]:
    """Return loss (nats a token), perplexity, token accuracy (0..1), bits a byte, and their intervals.

    Every token counts the same, in whatever text it is. Without any token nothing is measured: every score is
    None then. There are bits a byte only where every text has bytes, and `confidence_intervals` only where
    there are resamples, which are of texts.

    Args:
        texts: One element a text.
        resamples: How many times as many texts are drawn for the confidence intervals; 0 for none.
        seed: Seed of these draws.
    """
    found = list(texts)
    loss = math.fsum(text.loss for text in found)
    num_tokens = sum(text.num_tokens for text in found)
    metrics: dict[str, Any] = {
        "perplexity": perplexity(loss, num_tokens) if num_tokens else None,
        "loss": mean(loss, num_tokens),
        "token_accuracy": mean(sum(text.num_correct for text in found), num_tokens),
        "num_tokens": num_tokens,
        "num_examples": len(found),
    }
    sizes = _sizes(found)
    if sizes is not None:
        metrics["bits_per_byte"] = mean(loss / math.log(2), sum(sizes))
    if resamples and num_tokens:
        metrics["confidence_intervals"] = _intervals(found, sizes, resamples, seed)
    return metrics


def language_modelling_metrics_of(
    details: Iterable[Mapping[str, Any]], *, resamples: int, seed: int
) -> dict[str, Any]:
    """`language_modelling_metrics` of the lines of a details.jsonl."""
    return language_modelling_metrics(
        (
            TextLoss(row["loss"], row["num_tokens"], row["num_correct"], row.get("num_bytes"))
            for row in details
        ),
        resamples=resamples,
        seed=seed,
    )


def _sizes(texts: Sequence[TextLoss]) -> list[int] | None:
    sizes = [text.num_bytes for text in texts if text.num_bytes is not None]
    return sizes if texts and len(sizes) == len(texts) else None


def _intervals(
    texts: Sequence[TextLoss], sizes: Sequence[int] | None, resamples: int, seed: int
) -> dict[str, list[float]]:
    losses, tokens, correct, num_bytes = resampled_sums(
        [
            [text.loss for text in texts],
            [text.num_tokens for text in texts],
            [text.num_correct for text in texts],
            sizes or [0] * len(texts),
        ],
        resamples=resamples,
        seed=seed,
    )
    loss = percentile_interval(losses, tokens)
    intervals = {
        # exp rises with its argument, so it takes quantiles to quantiles but for their interpolation.
        "perplexity": [perplexity(bound, 1) for bound in loss],
        "loss": list(loss),
        "token_accuracy": list(percentile_interval(correct, tokens)),
    }
    if sizes is not None:
        intervals["bits_per_byte"] = list(percentile_interval(losses / math.log(2), num_bytes))
    return intervals

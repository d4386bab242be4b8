"""Scores of questions with choices."""

import math
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

from rankfold.metrics.bootstrap import bootstrap_interval
from rankfold.metrics.counts import mean


def choice_metrics_of(rows: Iterable[Mapping[str, Any]], *, resamples: int, seed: int) -> dict[str, Any]:
    """Score questions with choices from their lines in details.jsonl; ready for metrics.json.

    `chance_accuracy` is what choosing blindly comes to: the mean of 1 / number of choices. Both are None
    where no question has an answer to compare with.

    Args:
        rows: {"answer", "choice", "num_choices"} a question: the places of the right and of the chosen
            answer; those whose `answer` is None are not scored.
        resamples: Resamples behind `confidence_intervals` (95 %), which 0 leaves out.
        seed: Seed of the resamples.
    """
    right, chance = array("q"), array("d")
    for row in rows:
        if row["answer"] is not None:
            right.append(row["answer"] == row["choice"])
            chance.append(1 / row["num_choices"])
    metrics: dict[str, Any] = {
        "accuracy": mean(sum(right), len(right)),
        "chance_accuracy": mean(math.fsum(chance), len(chance)),
        "num_examples": len(right),
    }
    if resamples and right:
        ends = bootstrap_interval(right, [1] * len(right), resamples=resamples, seed=seed)
        metrics["confidence_intervals"] = {"accuracy": list(ends)}
    return metrics

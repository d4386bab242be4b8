"""The scores of a question answering data set, from its details: SQuAD's, and CMRC's for Chinese."""

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rankfold.metrics.answers import (
    AnswerColumns,
    AnswerScore,
    best_score,
    mean_percentages,
    no_gold_answer,
)
from rankfold.metrics.bootstrap import percentile_interval, resampled_sums
from rankfold.metrics.cmrc import score_answer
from rankfold.metrics.squad import best_thresholds_of, squad_metrics

_IDEOGRAPH = re.compile(r"[㐀-䶿一-鿿]")
"""SQuAD's word overlap means nothing for text without spaces; answers like this get CMRC's scores too."""


def answer_metrics_of(
    rows: Iterable[Mapping[str, Any]], *, version_2_with_negative: bool, resamples: int, seed: int
) -> dict[str, Any]:
    """Score a data set from its lines in details.jsonl, read one at a time; ready for metrics.json.

    Exact match and F1 are those of the rows, added in their order. CMRC's (`cmrc_exact_match`, `cmrc_f1`)
    are there where questions must have an answer and any gold answer has a Chinese character.

    Args:
        rows: {"answers", "prediction", "exact_match", "f1", "null_score_difference"} an example.
        version_2_with_negative: Whether questions may have no answer.
        resamples: Resamples behind `confidence_intervals` (0 to 100, 95 %), which 0 leaves out.
        seed: Seed of the resamples.

    Raises:
        DataError: Questions must have an answer, and one has none.
    """
    columns, chinese = AnswerColumns(), _ChineseColumns()
    for row in rows:
        if not (version_2_with_negative or row["answers"]):
            raise no_gold_answer(row["id"])
        columns.append_row(row)
        if not version_2_with_negative:
            chinese.append_row(row)
    metrics: dict[str, Any] = squad_metrics(columns, version_2_with_negative=version_2_with_negative)
    averaged: dict[str, Sequence[float]] = {"exact_match": columns.exact_match, "f1": columns.f1}
    if version_2_with_negative:
        metrics |= best_thresholds_of(columns).metrics
    if chinese.any_ideograph:
        metrics |= chinese.metrics
        averaged |= {"cmrc_exact_match": chinese.exact_match, "cmrc_f1": chinese.f1}
    if resamples:
        metrics["confidence_intervals"] = _intervals(averaged, resamples, seed)
    return metrics


class _ChineseColumns:
    """CMRC's scores of each example, which only count if the data turns out to be Chinese."""

    def __init__(self) -> None:
        self.exact_match = array("b")
        self.f1 = array("d")
        self.any_ideograph = False

    def append_row(self, row: Mapping[str, Any]) -> None:
        golds = [answer["text"] for answer in row["answers"]]
        score = best_score(row["prediction"], golds, score_answer)
        self.exact_match.append(score.exact_match)
        self.f1.append(score.f1)
        self.any_ideograph = self.any_ideograph or any(map(_IDEOGRAPH.search, golds))

    @property
    def metrics(self) -> dict[str, float]:
        exact_match, f1, _ = mean_percentages(map(AnswerScore, self.exact_match, self.f1))
        return {"cmrc_exact_match": exact_match, "cmrc_f1": f1}


def _intervals(averaged: Mapping[str, Sequence[float]], resamples: int, seed: int) -> dict[str, list[float]]:
    """Return the 95 % interval of the mean of each, as percentages."""
    ones = np.ones(len(next(iter(averaged.values()))), dtype=np.int64)
    *sums, num_examples = resampled_sums([*averaged.values(), ones], resamples=resamples, seed=seed)
    return {
        name: [100.0 * bound for bound in percentile_interval(numerators, num_examples)]
        for name, numerators in zip(averaged, sums, strict=True)
    }

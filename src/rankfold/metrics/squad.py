"""SQuAD v1.1 and v2.0, to the last bit of the official scripts.

Rajpurkar et al. 2016 (v1.1) and 2018 (v2.0); the scripts are evaluate-v1.1.py and evaluate-v2.0.py.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankfold.data.examples import QuestionExample
from rankfold.metrics.answers import (
    AnswerColumns,
    AnswerScore,
    AnswerScores,
    best_score,
    gold_answers,
    mean_percentages,
    score_each,
)

# ASCII punctuation only: the scripts keep “curly quotes” and Chinese full stops, and so do we.
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lower the text, drop ASCII punctuation, then English articles, then surplus white space.

    The order matters: "a." loses its full stop first and is then an article.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def score_answer(prediction: str, gold: str, *, version_2_with_negative: bool) -> AnswerScore:
    """Compare a prediction with one gold answer: equality and bag-of-words F1 after normalisation.

    Where both are empty after normalisation ("the" and "a the"), F1 is 0 in v1.1 and 1 in v2.0,
    while exact match is 1 in both.
    """
    normal_prediction, normal_gold = normalize_answer(prediction), normalize_answer(gold)
    exact_match = int(normal_prediction == normal_gold)
    prediction_tokens, gold_tokens = normal_prediction.split(), normal_gold.split()
    if version_2_with_negative and not (prediction_tokens and gold_tokens):
        return AnswerScore(exact_match, float(prediction_tokens == gold_tokens))
    num_same = (Counter(prediction_tokens) & Counter(gold_tokens)).total()
    if num_same == 0:
        return AnswerScore(exact_match, 0.0)
    # Not 2 × same / (both lengths): that is the same number, rounded differently in the last bit.
    precision = num_same / len(prediction_tokens)
    recall = num_same / len(gold_tokens)
    return AnswerScore(exact_match, (2 * precision * recall) / (precision + recall))


def squad_scores(
    predictions: Mapping[str, str],
    references: Iterable[QuestionExample],
    *,
    version_2_with_negative: bool,
    null_score_differences: Mapping[str, float] | None = None,
) -> AnswerScores:
    """Score predicted answers (example id → text) against the gold answers of every example.

    `squad_metrics` says which metrics there are; v2.0's best thresholds are among them only with
    `null_score_differences` (example id → null score − best score of an answer with text).

    Raises:
        DataError: Two examples have the same id, or a v1.1 question has no gold answer.
        OperationalError: An example has no prediction.
    """
    references = list(references)
    per_example = score_each(
        predictions,
        references,
        lambda text, example: _score_example(text, example, version_2_with_negative=version_2_with_negative),
    )
    columns = _columns(predictions, references, per_example, null_score_differences or {})
    metrics = squad_metrics(columns, version_2_with_negative=version_2_with_negative)
    if version_2_with_negative and null_score_differences is not None:
        metrics |= best_thresholds_of(columns).metrics
    return AnswerScores(per_example, metrics)


def squad_metrics(columns: AnswerColumns, *, version_2_with_negative: bool) -> dict[str, float | None]:
    """Return exact_match, f1 (0 to 100) and total from the scores of every example.

    With `version_2_with_negative` also HasAns_exact, HasAns_f1, HasAns_total, NoAns_exact, NoAns_f1 and
    NoAns_total, which the official script leaves out where there is no such question; here the total is 0
    then and the scores, which nothing measures, are None.
    """
    exact_match, f1, total = mean_percentages(columns.scores())
    metrics: dict[str, float | None] = {"exact_match": exact_match, "f1": f1, "total": total}
    if version_2_with_negative:
        metrics |= _of_kind("HasAns_", columns.scores(has_answer=True))
        metrics |= _of_kind("NoAns_", columns.scores(has_answer=False))
    return metrics


@dataclass(frozen=True)
class BestThresholds:
    """The best scores (0 to 100) that a null threshold could give, and the thresholds that do."""

    exact: float
    exact_threshold: float
    f1: float
    f1_threshold: float

    @property
    def metrics(self) -> dict[str, float]:
        """The official script's names."""
        return {
            "best_exact": self.exact,
            "best_exact_thresh": self.exact_threshold,
            "best_f1": self.f1,
            "best_f1_thresh": self.f1_threshold,
        }


def best_thresholds(rows: Iterable[Mapping[str, Any]]) -> BestThresholds:
    """Find the best thresholds from lines of details.jsonl, read one at a time."""
    columns = AnswerColumns()
    for row in rows:
        columns.append_row(row)
    return best_thresholds_of(columns)


def best_thresholds_of(columns: AnswerColumns) -> BestThresholds:
    """Find the null thresholds with the best exact match and the best F1."""
    return BestThresholds(*best_threshold(columns.exact_match, columns), *best_threshold(columns.f1, columns))


def best_threshold(scores: Sequence[float], columns: AnswerColumns) -> tuple[float, float]:
    """Return the best mean score (0 to 100) and its threshold, as evaluate-v2.0.py's find_best_thresh does.

    At first every question is answered "", which is right where there is no gold answer. Then the answers
    are let in, the least difference first and equal ones in the order of the data set; an answer adds its
    score, or takes one away where there is nothing to answer. Kept from the script:

    - A threshold lets in all answers of one difference or none, but the best may lie between them: it can
      then not be reached, and depends on the order of the data set.
    - Where answering nothing is best, the threshold is 0.0, though 0.0 lets answers in.
    - An answer that is "" already, because a threshold was applied before, stays "".
    """
    current: float = columns.has_answer.count(0)
    best, threshold = current, 0.0
    differences = columns.null_score_difference
    for index in sorted(range(len(scores)), key=differences.__getitem__):
        if columns.has_answer[index]:
            current += scores[index]
        else:
            current -= columns.is_answered[index]
        if current > best:
            best, threshold = current, differences[index]
    return (100.0 * best / len(scores) if scores else 0.0), threshold


def _score_example(
    prediction: str, example: QuestionExample, *, version_2_with_negative: bool
) -> AnswerScore:
    golds = _golds_or_none(example) if version_2_with_negative else gold_answers(example)
    return best_score(
        prediction,
        golds,
        lambda text, gold: score_answer(text, gold, version_2_with_negative=version_2_with_negative),
    )


def _golds_or_none(example: QuestionExample) -> list[str]:
    """Gold answers with words in them; only "" is right for a question that has none."""
    golds = [answer.text for answer in example.answers]
    return [gold for gold in golds if normalize_answer(gold)] or [""]


def _columns(
    predictions: Mapping[str, str],
    references: Iterable[QuestionExample],
    per_example: Mapping[str, AnswerScore],
    null_score_differences: Mapping[str, float],
) -> AnswerColumns:
    columns = AnswerColumns()
    for example in references:
        columns.append(
            per_example[example.id],
            has_answer=bool(example.answers),
            is_answered=bool(predictions[example.id]),
            null_score_difference=null_score_differences.get(example.id),
        )
    return columns


def _of_kind(prefix: str, scores: Iterable[AnswerScore]) -> dict[str, float | None]:
    exact_match, f1, total = mean_percentages(scores)
    return {
        f"{prefix}exact": exact_match if total else None,
        f"{prefix}f1": f1 if total else None,
        f"{prefix}total": total,
    }

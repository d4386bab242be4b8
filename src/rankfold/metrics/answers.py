"""Scores of answers to questions: one per example, and their mean in the order of the data set."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rankfold.data.examples import QuestionExample
from rankfold.errors import DataError, OperationalError


@dataclass(frozen=True)
class AnswerScore:
    """How well one prediction answers its question: `exact_match` 0 or 1, `f1` from 0 to 1."""

    exact_match: int
    f1: float


@dataclass(frozen=True)
class AnswerScores:
    """The scores of a data set.

    Args:
        per_example: Example id → score, in the order of the data set.
        metrics: Metric name → percentage (0 to 100) or count, ready for metrics.json.
    """

    per_example: Mapping[str, AnswerScore]
    metrics: Mapping[str, float]


def score_each(
    predictions: Mapping[str, str],
    references: Iterable[QuestionExample],
    score: Callable[[str, QuestionExample], AnswerScore],
) -> dict[str, AnswerScore]:
    """Score every example once, in the order of `references`; predictions of other ids are ignored.

    Raises:
        DataError: Two examples have the same id.
        OperationalError: An example has no prediction. The official scripts warn and count 0, but
            merging promises a prediction for each example, so a gap here is a fault.
    """
    scores: dict[str, AnswerScore] = {}
    for example in references:
        if example.id in scores:
            raise DataError(
                f"two examples have the id {example.id!r}; ids must be unique",
                remedy="Give every question its own id.",
            )
        if example.id not in predictions:
            raise OperationalError(
                f"no prediction for example {example.id!r}; every example needs one, "
                'an empty answer being ""',
                remedy="Evaluate the missing shard, then merge again.",
            )
        scores[example.id] = score(predictions[example.id], example)
    return scores


def best_score(
    prediction: str, golds: Sequence[str], score: Callable[[str, str], AnswerScore]
) -> AnswerScore:
    """Take the maximum over the gold answers, of exact match and of F1 independently."""
    scores = [score(prediction, gold) for gold in golds]
    return AnswerScore(max(s.exact_match for s in scores), max(s.f1 for s in scores))


def gold_answers(example: QuestionExample) -> list[str]:
    """Return the texts of the gold answers where every question must have one.

    Raises:
        DataError: The example has no gold answer.
    """
    if not example.answers:
        raise DataError(
            f"question {example.id!r} has no gold answer, which only SQuAD v2 allows",
            where="evaluation.version_2_with_negative",
            remedy="Set evaluation.version_2_with_negative to true, or drop the question.",
        )
    return [answer.text for answer in example.answers]


def mean_percentages(scores: Iterable[AnswerScore]) -> tuple[float, float, int]:
    """Return mean exact match (0..100), mean F1 (0..100) and the number of scores; zeros for none.

    One addition after the other, as the official scripts did: `sum` compensates rounding since
    Python 3.12 and `numpy.sum` adds pairwise, so both differ from them in the last bits.
    """
    exact_match, f1, total = 0, 0.0, 0
    for score in scores:
        exact_match += score.exact_match
        f1 += score.f1
        total += 1
    if total == 0:
        return 0.0, 0.0, 0
    return 100.0 * exact_match / total, 100.0 * f1 / total, total

"""Scores of answers to questions: one per example, and their mean in the order of the data set."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rankfold.data.examples import QuestionExample
from rankfold.errors import DataError, OperationalError

BEYOND_ANY_DIFFERENCE = float(np.finfo(np.float32).max)
"""A null score difference where there is no answer with text: scores are float32, none is larger."""


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
        metrics: Metric name → percentage (0 to 100) or count, ready for metrics.json; None where there was
            nothing to measure.
    """

    per_example: Mapping[str, AnswerScore]
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class AnswerColumns:
    """What the scores of a data set need of each example, in the order of the data set: 19 bytes.

    Args:
        exact_match: 0 or 1.
        f1: 0 to 1.
        null_score_difference: Null score − best score of an answer with text.
        has_answer: 1 where there is a gold answer.
        is_answered: 1 where the prediction is not "".
    """

    exact_match: "array[int]" = field(default_factory=lambda: array("b"))
    f1: "array[float]" = field(default_factory=lambda: array("d"))
    null_score_difference: "array[float]" = field(default_factory=lambda: array("d"))
    has_answer: bytearray = field(default_factory=bytearray)
    is_answered: bytearray = field(default_factory=bytearray)

    def append(
        self,
        score: AnswerScore,
        *,
        has_answer: bool,
        is_answered: bool,
        null_score_difference: float | None = None,
    ) -> None:
        """Add an example; a difference of None is taken as `BEYOND_ANY_DIFFERENCE`."""
        difference = BEYOND_ANY_DIFFERENCE if null_score_difference is None else null_score_difference
        self.exact_match.append(score.exact_match)
        self.f1.append(score.f1)
        self.null_score_difference.append(difference)
        self.has_answer.append(has_answer)
        self.is_answered.append(is_answered)

    def append_row(self, row: Mapping[str, Any]) -> None:
        """Add an example from its line in details.jsonl."""
        self.append(
            AnswerScore(row["exact_match"], row["f1"]),
            has_answer=bool(row["answers"]),
            is_answered=bool(row["prediction"]),
            null_score_difference=row["null_score_difference"],
        )

    def scores(self, has_answer: bool | None = None) -> Iterator[AnswerScore]:
        """Yield the scores of all examples, or of those with or without a gold answer."""
        for exact_match, f1, has in zip(self.exact_match, self.f1, self.has_answer, strict=True):
            if has_answer is None or has == has_answer:
                yield AnswerScore(exact_match, f1)


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
        raise no_gold_answer(example.id)
    return [answer.text for answer in example.answers]


def no_gold_answer(example_id: str) -> DataError:
    """What is wrong with a question that has no gold answer, where every question must have one."""
    return DataError(
        f"question {example_id!r} has no gold answer, which only SQuAD v2 allows",
        where="evaluation.version_2_with_negative",
        remedy="Set evaluation.version_2_with_negative to true, or drop the question.",
    )


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

"""What the question answering modules share: their input, in the layout of the hub's `squad` metric.

Functions, not a base class: `evaluate` takes the first Metric class it finds in a module, and an
imported base class would come first.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import evaluate
from datasets import Features, List, Value

from rankfold.data.examples import Answer, QuestionExample

_INPUTS = """
Args:
    predictions: One {"id", "prediction_text"} an example.
    references: One {"id", "answers": {"text": [...], "answer_start": [...]}} an example, in the order
        of the data set.
"""


def question_metric_info(description: str, citation: str) -> Any:
    """Return the MetricInfo of a metric over answers to questions."""
    return evaluate.MetricInfo(
        description=description,
        citation=citation,
        inputs_description=_INPUTS,
        features=Features(
            {
                "predictions": {"id": Value("string"), "prediction_text": Value("string")},
                "references": {
                    "id": Value("string"),
                    "answers": {
                        "text": List(Value("string")),
                        "answer_start": List(Value("int64")),
                    },
                },
            }
        ),
    )


def to_predictions(predictions: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Turn the `predictions` input into example id → answer."""
    return {prediction["id"]: prediction["prediction_text"] for prediction in predictions}


def to_examples(references: Iterable[Mapping[str, Any]]) -> list[QuestionExample]:
    """Turn the `references` input into examples; scores need neither question nor context."""
    return [
        QuestionExample(
            id=reference["id"],
            question="",
            context="",
            answers=tuple(
                Answer(text, start)
                for text, start in zip(
                    reference["answers"]["text"], reference["answers"]["answer_start"], strict=True
                )
            ),
        )
        for reference in references
    ]

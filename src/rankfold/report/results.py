"""Reads what the merge wrote about one variant: its scores and its examples."""

import math
from typing import Any

from rankfold.data.examples import Answer, Span
from rankfold.report.facts import (
    AnswerResult,
    EntityResult,
    ExampleResult,
    InventedEntity,
    VariantFacts,
)
from rankfold.report.files import read_object, read_objects, written_by_a_stage
from rankfold.run_folder import RunFolder


def read_variant(run: RunFolder, variant: str) -> VariantFacts | None:
    """Scores and examples of a variant; None before the merge has written its metrics.

    Raises:
        OperationalError: metrics.json or details.jsonl is not what the merge writes.
    """
    metrics = read_object(run.metrics(variant))
    if metrics is None:
        return None
    with written_by_a_stage(run.metrics(variant)):
        scores = finite_numbers(metrics)
        per_label = {label: finite_numbers(of) for label, of in metrics.get("per_label", {}).items()}
    with written_by_a_stage(run.details(variant)):
        examples = tuple(_example(line) for line in read_objects(run.details(variant)))
    return VariantFacts(metrics=scores, per_label=per_label, examples=examples)


def finite_numbers(values: dict[str, Any]) -> dict[str, float]:
    """The entries that are numbers; NaN and infinity are left out, so that they read as absent."""
    return {
        key: value for key, value in values.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def _example(line: dict[str, Any]) -> ExampleResult:
    return _answer_result(line) if "question" in line else _entity_result(line)


def _entity_result(line: dict[str, Any]) -> EntityResult:
    return EntityResult(
        id=line["id"],
        text=line["text"],
        gold=tuple(Span(start, end, label) for start, end, label in line["gold"]),
        predicted=tuple(Span(start, end, label) for start, end, label, _score in line["predicted"]),
        invented=tuple(InventedEntity(entity["text"], entity["label"]) for entity in line["invented"]),
        parse_failure=line["parse_failure"],
        f1=line["f1"],
        generated=tuple(line["generated"]),
    )


def _answer_result(line: dict[str, Any]) -> AnswerResult:
    return AnswerResult(
        id=line["id"],
        question=line["question"],
        context=line["context"],
        answers=tuple(Answer(answer["text"], answer["answer_start"]) for answer in line["answers"]),
        prediction=line["prediction"],
        start=line["start"],
        end=line["end"],
        exact_match=bool(line["exact_match"]),
        f1=line["f1"],
    )

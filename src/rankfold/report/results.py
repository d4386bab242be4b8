"""Reads what the merge wrote about one variant: its scores and its examples."""

import json
import math
from collections.abc import Mapping
from typing import Any

from rankfold.data.examples import Answer, Span
from rankfold.report.facts import (
    AnswerResult,
    ChangedSetting,
    EntityResult,
    ExampleResult,
    InventedEntity,
    MergedAgain,
    TextResult,
    VariantFacts,
)
from rankfold.report.files import read_object, read_objects, written_by_a_stage
from rankfold.report.metrics import NERVALUATE
from rankfold.run_folder import RunFolder


def read_variant(run: RunFolder, variant: str, recipe: Mapping[str, Any]) -> VariantFacts | None:
    """Scores and examples of a variant; None before the merge has written its metrics.

    Raises:
        OperationalError: One of the files in its results is not what the merge writes.
    """
    metrics = read_object(run.metrics(variant))
    if metrics is None:
        return None
    with written_by_a_stage(run.metrics(variant)):
        scores = finite_numbers(metrics) | _nervaluate(metrics.get("nervaluate", {}))
        intervals = _intervals(metrics.get("confidence_intervals", {}))
        per_label = {label: finite_numbers(of) for label, of in metrics.get("per_label", {}).items()}
    with written_by_a_stage(run.details(variant)):
        examples = tuple(_example(line) for line in read_objects(run.details(variant)))
    return VariantFacts(
        metrics=scores,
        intervals=intervals,
        per_label=per_label,
        examples=examples,
        merged_again=_merged_again(run, variant, recipe),
        unmeasured=frozenset(key for key, value in metrics.items() if value is None),
    )


def finite_numbers(values: dict[str, Any]) -> dict[str, float]:
    """The entries that are numbers; NaN and infinity are left out, so that they read as absent."""
    return {
        key: value for key, value in values.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def _nervaluate(schemes: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    return {
        f"{NERVALUATE}{scheme}_{name}": value
        for scheme, scores in schemes.items()
        for name, value in finite_numbers(scores).items()
    }


def _intervals(intervals: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    return {
        key: (low, high)
        for key, (low, high) in intervals.items()
        if math.isfinite(low) and math.isfinite(high)
    }


def _merged_again(run: RunFolder, variant: str, recipe: Mapping[str, Any]) -> MergedAgain | None:
    changed = read_object(run.merge_settings(variant))
    if changed is None:
        return None
    with written_by_a_stage(run.merge_settings(variant)):
        tuned_on = changed.pop("tuned_on", None)
        return MergedAgain(
            settings=tuple(
                ChangedSetting(key, _as_json(value), _in_recipe(key, recipe))
                for key, value in sorted(changed.items())
            ),
            num_tuned_on=None if tuned_on is None else int(tuned_on["examples"]),
        )


def _in_recipe(key: str, recipe: Mapping[str, Any]) -> str | None:
    """What the resolved recipe has at a dotted key; None where it has nothing there."""
    *sections, name = key.split(".")
    section: Any = recipe
    for part in sections:
        section = section.get(part, {})
    return _as_json(section[name]) if name in section else None


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _example(line: dict[str, Any]) -> ExampleResult:
    if "context" in line:
        return _answer_result(line)
    return _entity_result(line) if "invented" in line else _text_result(line)


def _text_result(line: dict[str, Any]) -> TextResult:
    return TextResult(line["id"], line["text"], line["gold"], line["predicted"], line["score"])


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

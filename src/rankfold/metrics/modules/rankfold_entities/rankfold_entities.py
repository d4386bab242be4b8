"""`evaluate` module of position-strict entities; the arithmetic is in rankfold.metrics.entities."""

from collections.abc import Iterable, Mapping
from typing import Any

import evaluate
from datasets import Features, List, Value

from rankfold.data.examples import Span
from rankfold.metrics.entities import EntityCounts, count_entities, entity_metrics

_INPUTS = """
Args:
    predictions: One {"entities": [{"start", "end", "label"}, ...], "invented_labels": [...],
        "parse_failure": bool} a text; `end` is exclusive, `invented_labels` has one label for each
        predicted entity that is not in the text.
    references: One {"entities": [{"start", "end", "label"}, ...]} a text.
    labels: Labels to list first and even where they never occur.
"""


class RankfoldEntities(evaluate.Metric):  # type: ignore[misc]
    """Micro and per-label precision, recall and F1 (0..1) of entities, strict in position and label."""

    def _info(self) -> Any:
        entities = List({"start": Value("int64"), "end": Value("int64"), "label": Value("string")})
        prediction = {
            "entities": entities,
            "invented_labels": List(Value("string")),
            "parse_failure": Value("bool"),
        }
        return evaluate.MetricInfo(
            description="Precision, recall and F1 (0..1) of entities, strict in position and label.",
            citation="",
            inputs_description=_INPUTS,
            features=Features({"predictions": prediction, "references": {"entities": entities}}),
        )

    def _compute(self, predictions: Any, references: Any, labels: tuple[str, ...] = ()) -> dict[str, Any]:
        counts = (
            count_entities(
                _spans(reference["entities"]),
                _spans(prediction["entities"]),
                invented_labels=prediction["invented_labels"],
                parse_failure=prediction["parse_failure"],
            )
            for prediction, reference in zip(predictions, references, strict=True)
        )
        return entity_metrics(sum(counts, EntityCounts()), labels)


def _spans(entities: Iterable[Mapping[str, Any]]) -> list[Span]:
    return [Span(entity["start"], entity["end"], entity["label"]) for entity in entities]

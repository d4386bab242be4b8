"""`evaluate` module of entities; the arithmetic is in rankfold.metrics.entities."""

from collections.abc import Mapping
from typing import Any

import evaluate
from datasets import Features, List, Value

from rankfold.metrics.entities import entity_metrics_of

_INPUTS = """
Args:
    predictions: One {"entities": [{"start", "end", "label"}, ...], "invented": [{"text", "label"}, ...],
        "parse_failure": bool} a text; `end` is exclusive, `invented` has the predicted entities that are
        not in the text.
    references: One {"text", "entities": [{"start", "end", "label"}, ...]} a text.
    labels: Labels to list first and even where they never occur.
    resamples: Resamples behind the 95 % confidence intervals; 0 leaves them out.
    seed: Seed of the resamples.
"""


class RankfoldEntities(evaluate.Metric):  # type: ignore[misc]
    """Precision, recall and F1 (0..1) of entities: strict, lenient, nervaluate's and CLUENER's."""

    def _info(self) -> Any:
        entities = List({"start": Value("int64"), "end": Value("int64"), "label": Value("string")})
        prediction = {
            "entities": entities,
            "invented": List({"text": Value("string"), "label": Value("string")}),
            "parse_failure": Value("bool"),
        }
        reference = {"text": Value("string"), "entities": entities}
        return evaluate.MetricInfo(
            description="Precision, recall and F1 (0..1) of entities: strict, lenient, nervaluate's and "
            "CLUENER's.",
            citation="",
            inputs_description=_INPUTS,
            features=Features({"predictions": prediction, "references": reference}),
        )

    def _compute(
        self,
        predictions: Any,
        references: Any,
        labels: tuple[str, ...] = (),
        resamples: int = 0,
        seed: int = 0,
    ) -> dict[str, Any]:
        rows = (
            {
                **prediction,
                "text": reference["text"],
                "gold": [_span(entity) for entity in reference["entities"]],
                "predicted": [[*_span(entity), None] for entity in prediction["entities"]],
            }
            for prediction, reference in zip(predictions, references, strict=True)
        )
        return entity_metrics_of(rows, labels, resamples=resamples, seed=seed)


def _span(entity: Mapping[str, Any]) -> list[Any]:
    return [entity["start"], entity["end"], entity["label"]]

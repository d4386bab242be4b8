"""Entities of an example as the files of a run have them."""

from collections.abc import Iterable
from typing import Any

from rankfold.data.examples import EntityExample
from rankfold.entities.candidates import SpanCandidate
from rankfold.entities.parse import GeneratedEntity


def prediction_rows(text: str, predicted: Iterable[SpanCandidate]) -> list[dict[str, Any]]:
    """Return an example's entry in `predictions.json`."""
    return [
        {
            "text": text[candidate.span.start : candidate.span.end],
            "label": candidate.span.label,
            "start": candidate.span.start,
            "end": candidate.span.end,
            "score": candidate.score,
        }
        for candidate in predicted
    ]


def details_row(
    example: EntityExample,
    predicted: Iterable[SpanCandidate],
    f1: float,
    *,
    invented: Iterable[GeneratedEntity] = (),
    parse_failure: bool = False,
    generated: Iterable[str] = (),
) -> dict[str, Any]:
    """Return an example's line of `details.jsonl`; `f1` is of this example alone, 0..1.

    Only what a model generated can name entities that are not in the text, or be unreadable.
    """
    return {
        "id": example.id,
        "text": example.text,
        "gold": [[span.start, span.end, span.label] for span in example.entities],
        "predicted": [[one.span.start, one.span.end, one.span.label, one.score] for one in predicted],
        "invented": [{"text": entity.text, "label": entity.label} for entity in invented],
        "parse_failure": parse_failure,
        "f1": f1,
        "generated": list(generated),
    }

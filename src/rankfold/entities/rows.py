"""Entities of an example as the files of a run have them."""

from collections.abc import Iterable
from typing import Any

from rankfold.data.examples import EntityExample
from rankfold.entities.candidates import Mode, SpanCandidate
from rankfold.entities.parse import GeneratedEntity


def entity_rows(text: str, candidates: Iterable[SpanCandidate]) -> list[dict[str, Any]]:
    """Return spans as `predictions.json` and `nbest.jsonl` list them."""
    return [
        {
            "text": text[candidate.span.start : candidate.span.end],
            "label": candidate.span.label,
            "start": candidate.span.start,
            "end": candidate.span.end,
            "score": candidate.score,
        }
        for candidate in candidates
    ]


def nbest_row(
    example_id: str, text: str, candidates: Iterable[SpanCandidate], *, mode: Mode | None = None
) -> dict[str, Any]:
    """Return an example's line of `nbest.jsonl`; `mode` says what the scores of generated spans share."""
    recorded = {} if mode is None else {"mode": mode}
    return {"id": example_id, **recorded, "nbest": entity_rows(text, candidates)}


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

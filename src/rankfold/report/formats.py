"""How numbers, durations and instants are written for a reader."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

ABSENT = "n/a"


@dataclass(frozen=True)
class Metric:
    """How a metric is shown; `better` says which way is up, or that there is none."""

    title: str
    decimals: int
    better: Literal["higher", "lower", "neither"]


METRICS = {
    "entity_f1": Metric("Entity F1", 3, "higher"),
    "entity_precision": Metric("Precision", 3, "higher"),
    "entity_recall": Metric("Recall", 3, "higher"),
    "entity_f1_aligned_only": Metric("F1 without unaligned", 3, "higher"),
    "unaligned_rate": Metric("Unaligned rate", 3, "lower"),
    "parse_failure_rate": Metric("Parse failure rate", 3, "lower"),
    "num_gold": Metric("Gold entities", 0, "neither"),
    "num_predicted": Metric("Predicted entities", 0, "neither"),
    "num_correct": Metric("Correct entities", 0, "higher"),
    "num_examples": Metric("Examples", 0, "neither"),
    "exact_match": Metric("Exact match", 2, "higher"),
    "f1": Metric("F1", 2, "higher"),
    "HasAns_exact": Metric("Exact match, answerable", 2, "higher"),
    "HasAns_f1": Metric("F1, answerable", 2, "higher"),
    "NoAns_exact": Metric("Exact match, unanswerable", 2, "higher"),
    "NoAns_f1": Metric("F1, unanswerable", 2, "higher"),
    "total": Metric("Questions", 0, "neither"),
    "HasAns_total": Metric("Questions, answerable", 0, "neither"),
    "NoAns_total": Metric("Questions, unanswerable", 0, "neither"),
}
"""Every metric a report shows, in the order of the score table: entities in 0..1, answers in 0..100."""


def format_metric(key: str, value: float | None) -> str:
    """The value with the metric's decimals and grouped thousands; `n/a` where there is none."""
    return ABSENT if value is None else f"{value:,.{METRICS[key].decimals}f}"


def format_change(key: str, before: float | None, after: float | None) -> str:
    """after − before with its sign; `n/a` unless both are there."""
    if before is None or after is None:
        return ABSENT
    decimals = METRICS[key].decimals
    change = round(after - before, decimals)
    return f"{change:+,.{decimals}f}".replace("-", "−") if change else f"{0:.{decimals}f}"


def format_count(value: float | None) -> str:
    """A whole number with grouped thousands; `n/a` where there is none."""
    return ABSENT if value is None else f"{value:,.0f}"


def format_seconds(seconds: float | None) -> str:
    """A duration with the two units that matter: `0.4 s`, `4 min 12 s`, `2 h 05 min`."""
    if seconds is None:
        return ABSENT
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def format_instant(iso: str) -> str:
    """`2026-01-31 09:05 UTC` from ISO 8601; a time without a zone is UTC.

    Raises:
        ValueError: `iso` is not ISO 8601.
    """
    instant = datetime.fromisoformat(iso)
    return (instant.astimezone(UTC) if instant.tzinfo else instant).strftime("%Y-%m-%d %H:%M UTC")

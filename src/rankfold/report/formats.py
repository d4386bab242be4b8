"""How numbers, durations and instants are written for a reader."""

from dataclasses import replace
from datetime import UTC, datetime

from rankfold.known_metrics import Metric

ABSENT = "n/a"

LARGEST_WRITTEN_OUT = 1e12
"""Larger ones are shown by their power of ten: a null threshold may be the largest float32."""


def format_metric(metric: Metric, value: float | None) -> str:
    """The value with the metric's decimals and grouped thousands; `n/a` where there is none."""
    if value is None:
        return ABSENT
    return f"{value:{_style(metric, value)}}".replace("-", "−")


def format_interval(metric: Metric, interval: tuple[float, float] | None) -> str:
    """`0.61–0.82`, with one decimal less than the metric; empty where there is none."""
    if interval is None:
        return ""
    rounder = replace(metric, decimals=max(metric.decimals - 1, 0))
    return "–".join(format_metric(rounder, bound) for bound in interval)


def format_change(metric: Metric, before: float | None, after: float | None) -> str:
    """after − before with its sign; `n/a` unless both are there."""
    if before is None or after is None:
        return ABSENT
    change = round(after - before, metric.decimals)
    return f"{change:+{_style(metric, change)}}".replace("-", "−") if change else format_metric(metric, 0.0)


def _style(metric: Metric, value: float) -> str:
    kind = "f" if abs(value) <= LARGEST_WRITTEN_OUT else "g"
    return f",.{metric.decimals}{kind}"


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

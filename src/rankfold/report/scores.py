"""The rows of the score tables, the same for HTML and Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rankfold.known_metrics import METRICS, Metric
from rankfold.report.facts import RunFacts, VariantFacts
from rankfold.report.formats import ABSENT, format_change, format_count, format_interval, format_metric
from rankfold.report.metrics import GENERATED_ONLY, WAYS, Way


@dataclass(frozen=True)
class Score:
    """One model's score as text; `interval` is its 95 % interval, empty where there is none."""

    value: str
    interval: str


@dataclass(frozen=True)
class ScoreRow:
    """One metric before and after training, as text; `trend` says whether the change is for the better."""

    title: str
    before: Score
    after: Score
    change: str
    trend: Literal["better", "worse", "neither"]


@dataclass(frozen=True)
class WayScores:
    """How one model did under one way to count."""

    precision: Score
    recall: Score
    f1: Score


@dataclass(frozen=True)
class WayRow:
    """One way to count before and after training; None where that model was not evaluated."""

    way: Way
    before: WayScores | None
    after: WayScores | None


@dataclass(frozen=True)
class LabelScores:
    """How one model did on one label, as text."""

    num_predicted: str
    num_correct: str
    precision: str
    recall: str
    f1: str


@dataclass(frozen=True)
class LabelRow:
    """One label before and after training; None where that model was not evaluated."""

    label: str
    num_gold: str
    before: LabelScores | None
    after: LabelScores | None


def headline_rows(facts: RunFacts) -> tuple[ScoreRow, ...]:
    """The few scores that say how good the task is done; none before there are scores."""
    keys = facts.about_task.headline
    return tuple(_score_row(key, facts) for key in keys if _has(facts, key))


def score_rows(facts: RunFacts) -> tuple[ScoreRow, ...]:
    """Every main metric that either model has, in the order of `METRICS`, the task's own first."""
    return _rows(facts, main=True)


def threshold_rows(facts: RunFacts) -> tuple[ScoreRow, ...]:
    """What the best null threshold would reach; none but for questions that may have no answer."""
    return _rows(facts, main=False)


def way_rows(facts: RunFacts) -> tuple[WayRow, ...]:
    """A row for every way to count entities that either model was scored by, beside the strict one."""
    return tuple(
        WayRow(way, _way_scores(facts.base, way), _way_scores(facts.fine_tuned, way))
        for way in WAYS
        if _has(facts, f"{way.prefix}f1")
    )


def label_rows(facts: RunFacts) -> tuple[LabelRow, ...]:
    """A row for every label, in the recipe's order where the data summary has one, then by name."""
    scored = {label for variant in (facts.base, facts.fine_tuned) if variant for label in variant.per_label}
    ordered = [label for label in (facts.data.labels if facts.data else ()) if label in scored]
    return tuple(_label_row(label, facts) for label in [*ordered, *sorted(scored - set(ordered))])


def _rows(facts: RunFacts, *, main: bool) -> tuple[ScoreRow, ...]:
    own = facts.about_task.metrics
    known = [*own, *(key for key in METRICS if key not in own)]
    keys = [key for key in known if facts.about_task.metric(key).main == main]
    if not facts.about_task.generates:
        keys = [key for key in keys if key not in GENERATED_ONLY]
    return tuple(_score_row(key, facts) for key in keys if _has(facts, key))


def _has(facts: RunFacts, key: str) -> bool:
    variants = [variant for variant in (facts.base, facts.fine_tuned) if variant]
    return any(key in variant.metrics or key in variant.unmeasured for variant in variants)


def _score_row(key: str, facts: RunFacts) -> ScoreRow:
    metric = facts.about_task.metric(key)
    before = facts.base.metrics.get(key) if facts.base else None
    after = facts.fine_tuned.metrics.get(key) if facts.fine_tuned else None
    return ScoreRow(
        title=metric.title,
        before=_score(facts.base, key, metric),
        after=_score(facts.fine_tuned, key, metric),
        change=format_change(metric, before, after),
        trend=_trend(metric, before, after),
    )


def _score(variant: VariantFacts | None, key: str, metric: Metric) -> Score:
    if variant is None:
        return Score(ABSENT, "")
    return Score(
        value=format_metric(metric, variant.metrics.get(key)),
        interval=format_interval(metric, variant.intervals.get(key)),
    )


def _way_scores(variant: VariantFacts | None, way: Way) -> WayScores | None:
    if variant is None:
        return None
    return WayScores(
        *(
            _score(variant, f"{way.prefix}{name}", METRICS[f"entity_{name}"])
            for name in ("precision", "recall", "f1")
        )
    )


def _trend(
    metric: Metric, before: float | None, after: float | None
) -> Literal["better", "worse", "neither"]:
    change = 0.0 if before is None or after is None else round(after - before, metric.decimals)
    if metric.better == "neither" or not change:
        return "neither"
    return "better" if (change > 0) == (metric.better == "higher") else "worse"


def _label_row(label: str, facts: RunFacts) -> LabelRow:
    before, after = _label_scores(facts.base, label), _label_scores(facts.fine_tuned, label)
    variants = [variant for variant in (facts.fine_tuned, facts.base) if variant]
    counts: list[Mapping[str, float]] = [
        variant.per_label[label] for variant in variants if label in variant.per_label
    ]
    return LabelRow(label, format_count(counts[0].get("num_gold")), before, after)


def _label_scores(variant: VariantFacts | None, label: str) -> LabelScores | None:
    if variant is None:
        return None
    scores = variant.per_label.get(label, {})
    return LabelScores(
        num_predicted=format_count(scores.get("num_predicted")),
        num_correct=format_count(scores.get("num_correct")),
        precision=format_metric(METRICS["entity_precision"], scores.get("precision")),
        recall=format_metric(METRICS["entity_recall"], scores.get("recall")),
        f1=format_metric(METRICS["entity_f1"], scores.get("f1")),
    )

"""The evaluations during training, as rows of text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankfold.report.facts import Evaluation, RunFacts, TrainingFacts
from rankfold.report.formats import ABSENT, format_count, format_metric
from rankfold.report.metrics import HEADLINE_METRICS, METRICS


@dataclass(frozen=True)
class EvaluationRow:
    """One evaluation; `is_best` marks the one whose metric was best."""

    step: str
    epoch: str
    values: tuple[str, ...]
    is_best: bool


@dataclass(frozen=True)
class EvaluationTable:
    """What was measured during training; `summary` says in a sentence how it ended."""

    summary: str
    titles: tuple[str, ...]
    rows: tuple[EvaluationRow, ...]


def evaluation_table(facts: RunFacts) -> EvaluationTable | None:
    """The task's main scores, and the one that decides, at every evaluation; None where there was none."""
    training = facts.training
    if training is None or not training.evaluations:
        return None
    keys = _columns(facts.task, training)
    return EvaluationTable(
        summary=_summary(training),
        titles=tuple(_title(key) for key in keys),
        rows=tuple(_row(evaluation, keys, training.best_step) for evaluation in training.evaluations),
    )


def _columns(task: str, training: TrainingFacts) -> list[str]:
    measured = {key for evaluation in training.evaluations for key in evaluation.metrics}
    wanted = [*HEADLINE_METRICS.get(task, ()), *([training.best_metric] if training.best_metric else [])]
    return [key for key in dict.fromkeys(wanted) if key in measured]


def _summary(training: TrainingFacts) -> str:
    number = len(training.evaluations)
    times = "once" if number == 1 else f"{format_count(number)} times"
    said = f"Evaluated {times} on the validation set"
    best = next((one for one in training.evaluations if one.step == training.best_step), None)
    if best is None or training.best_metric is None:
        return f"{said}."
    value = _value(best.metrics, training.best_metric)
    kept = "this is the model kept" if training.keeps_best else "the model kept is the last one"
    title = _title(training.best_metric)
    return f"{said}. Best by {title}: {value} at step {format_count(best.step)}; {kept}."


def _row(evaluation: Evaluation, keys: Sequence[str], best_step: int | None) -> EvaluationRow:
    return EvaluationRow(
        step=format_count(evaluation.step),
        epoch=ABSENT if evaluation.epoch is None else f"{evaluation.epoch:.2f}",
        values=tuple(_value(evaluation.metrics, key) for key in keys),
        is_best=evaluation.step == best_step,
    )


def _title(key: str) -> str:
    return METRICS[key].title if key in METRICS else key


def _value(metrics: Mapping[str, float], key: str) -> str:
    """A metric that only the task knows has no decimals of its own here."""
    if key in METRICS or key not in metrics:
        return format_metric(key, metrics.get(key))
    return f"{metrics[key]:.4g}"

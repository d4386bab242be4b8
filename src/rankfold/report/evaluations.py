"""The evaluations during training, as rows of text."""

from collections.abc import Sequence
from dataclasses import dataclass

from rankfold.report.facts import Evaluation, RunFacts, TrainingFacts
from rankfold.report.formats import ABSENT, format_count, format_metric
from rankfold.task_facts import TaskFacts


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
    keys = _columns(facts, training)
    return EvaluationTable(
        summary=_summary(training, facts.about_task),
        titles=tuple(facts.about_task.metric(key).title for key in keys),
        rows=tuple(
            _row(evaluation, keys, training.best_step, facts.about_task)
            for evaluation in training.evaluations
        ),
    )


def _columns(facts: RunFacts, training: TrainingFacts) -> list[str]:
    measured = {key for evaluation in training.evaluations for key in evaluation.metrics}
    wanted = [*facts.about_task.headline, *([training.best_metric] if training.best_metric else [])]
    return [key for key in dict.fromkeys(wanted) if key in measured]


def _summary(training: TrainingFacts, task: TaskFacts) -> str:
    number = len(training.evaluations)
    times = "once" if number == 1 else f"{format_count(number)} times"
    said = f"Evaluated {times} on the validation set"
    best = next((one for one in training.evaluations if one.step == training.best_step), None)
    if best is None or training.best_metric is None:
        return f"{said}."
    value = format_metric(task.metric(training.best_metric), best.metrics.get(training.best_metric))
    kept = "this is the model kept" if training.keeps_best else "the model kept is the last one"
    title = task.metric(training.best_metric).title
    return f"{said}. Best by {title}: {value} at step {format_count(best.step)}; {kept}."


def _row(
    evaluation: Evaluation, keys: Sequence[str], best_step: int | None, task: TaskFacts
) -> EvaluationRow:
    return EvaluationRow(
        step=format_count(evaluation.step),
        epoch=ABSENT if evaluation.epoch is None else f"{evaluation.epoch:.2f}",
        values=tuple(format_metric(task.metric(key), evaluation.metrics.get(key)) for key in keys),
        is_best=evaluation.step == best_step,
    )

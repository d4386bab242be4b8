"""The report in short, for the terminal."""

from collections.abc import Sequence

from rankfold.report.data import data_lines
from rankfold.report.evaluations import EvaluationRow, evaluation_table
from rankfold.report.facts import EntityResult, ExampleResult, RunFacts, TextResult
from rankfold.report.formats import ABSENT
from rankfold.report.marks import marks_of
from rankfold.report.mistakes import score_of, worst_first
from rankfold.report.notes import merge_notes
from rankfold.report.scores import (
    LabelScores,
    Score,
    ScoreRow,
    label_rows,
    score_rows,
    threshold_rows,
    way_rows,
)
from rankfold.report.terminal import code, inline, table
from rankfold.report.training import speed_line

NUM_MISTAKES = 3
NUM_EVALUATIONS = 5
"""The last so many of the evaluations during training, and the best."""

INTERVALS = "In brackets: 95 % bootstrap interval over the test examples."


def render_markdown(facts: RunFacts) -> str:
    """Scores before and after, labels, the worst mistakes, and where the whole report is."""
    sections = [
        [f"# {facts.name}: {facts.state}", "", f"{facts.task} · {code(facts.model)} · {facts.run_id}"],
        _failures(facts),
        score_lines(facts),
        _other_ways(facts),
        _labels(facts),
        _training(facts),
        _speed(facts),
        data_lines(facts),
        _mistakes(facts),
        [f"Whole report: {facts.html}"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _failures(facts: RunFacts) -> list[str]:
    return [
        f"- {job.job} {job.state}" + (f": {code(job.error)}" if job.error else "")
        for job in facts.jobs
        if job.state in ("failed", "cancelled")
    ]


def score_lines(facts: RunFacts) -> list[str]:
    """Scores before and after training, and what has to be said of them."""
    rows = score_rows(facts)
    if not rows:
        return ["No scores yet: they appear when the evaluation has been merged."]
    notes = [line for note in merge_notes(facts) for line in (inline(note), "")]
    lines = [*notes, *_before_and_after("score", rows)]
    has_intervals = any(score.interval for row in rows for score in (row.before, row.after))
    return [*lines, "", INTERVALS] if has_intervals else lines


def _before_and_after(title: str, rows: Sequence[ScoreRow]) -> list[str]:
    columns = (_with_intervals([row.before for row in rows]), _with_intervals([row.after for row in rows]))
    lines = zip([row.title for row in rows], *columns, [row.change for row in rows], strict=True)
    return table([(title, "before", "after", "change"), *lines])


def _with_intervals(scores: Sequence[Score]) -> list[str]:
    """A column of scores whose digits line up though some are followed by an interval."""
    intervals = [f" ({score.interval})" if score.interval else "" for score in scores]
    width = max(map(len, intervals))
    return [score.value + interval.ljust(width) for score, interval in zip(scores, intervals, strict=True)]


def _other_ways(facts: RunFacts) -> list[str]:
    thresholds, ways = threshold_rows(facts), way_rows(facts)
    if thresholds:
        return _before_and_after("best threshold", thresholds)
    if not ways:
        return []
    lines = [("counted otherwise", "F1 before", "F1 after", "precision", "recall")]
    for row in ways:
        now = row.after or row.before
        lines.append(
            (
                row.way.title,
                row.before.f1.value if row.before else ABSENT,
                row.after.f1.value if row.after else ABSENT,
                now.precision.value if now else ABSENT,
                now.recall.value if now else ABSENT,
            )
        )
    return table(lines)


def _labels(facts: RunFacts) -> list[str]:
    rows = label_rows(facts)
    if not rows:
        return []
    lines = [("label", "gold", "F1 before", "F1 after", "precision", "recall", "predicted", "correct")]
    for row in rows:
        now = row.after or row.before or LabelScores(*[ABSENT] * 5)
        lines.append(
            (
                inline(row.label),
                row.num_gold,
                row.before.f1 if row.before else ABSENT,
                row.after.f1 if row.after else ABSENT,
                now.precision,
                now.recall,
                now.num_predicted,
                now.num_correct,
            )
        )
    return table(lines)


def _training(facts: RunFacts) -> list[str]:
    evaluations = evaluation_table(facts)
    if evaluations is None:
        return []
    last = evaluations.rows[-NUM_EVALUATIONS:]
    rows = [row for row in evaluations.rows if row.is_best or row in last]
    head = ("step", "epoch", *map(inline, evaluations.titles), "")
    return [
        "## During training",
        "",
        inline(evaluations.summary),
        "",
        *table([head, *map(_evaluation, rows)]),
    ]


def _speed(facts: RunFacts) -> list[str]:
    line = speed_line(facts.training) if facts.training else ""
    return [line] if line else []


def _evaluation(row: EvaluationRow) -> tuple[str, ...]:
    return (row.step, row.epoch, *row.values, "best" if row.is_best else "")


def _mistakes(facts: RunFacts) -> list[str]:
    results = worst_first(facts.evaluated) if facts.evaluated else ()
    worst = [result for result in results if score_of(result) < 1][:NUM_MISTAKES]
    if not worst:
        return []
    lines = ["## Worst mistakes"]
    for number, result in enumerate(worst, start=1):
        lines += ["", *_mistake(number, result)]
    return lines


def _mistake(number: int, result: ExampleResult) -> list[str]:
    if isinstance(result, EntityResult):
        lines = [f"{number}. {code(result.id)} · F1 {result.f1:.3f}", f"   {code(result.text)}"]
        lines += [f"   - {said}" for said in _entity_mistakes(result)]
        return lines
    if isinstance(result, TextResult):
        return [
            f"{number}. {code(result.id)} · score {score_of(result):.3f}",
            f"   {code(result.text)}",
            f"   - gold: {code(result.gold) if result.gold else 'nothing'}",
            f"   - predicted: {code(result.predicted) if result.predicted else 'nothing'}",
        ]
    golds = ", ".join(dict.fromkeys(code(answer.text) for answer in result.answers)) or "no answer"
    return [
        f"{number}. {code(result.id)} · F1 {100 * result.f1:.2f}",
        f"   {code(result.question)}",
        f"   - gold: {golds}",
        f"   - predicted: {code(result.prediction) if result.prediction else 'no answer'}",
    ]


def _entity_mistakes(result: EntityResult) -> list[str]:
    said = [
        f"{mark.kind}: {code(result.text[mark.start : mark.end])} {inline(mark.label)}"
        for mark in marks_of(result)
        if mark.kind != "right"
    ]
    said += [
        f"invented, not in the text: {code(entity.text)} {inline(entity.label)}" for entity in result.invented
    ]
    return [*said, "the generated text could not be read"] if result.parse_failure else said

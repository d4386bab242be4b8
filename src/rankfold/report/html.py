"""The report as one HTML file that needs nothing else: no network, no script, no font."""

from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rankfold.report import loss_curve, marks
from rankfold.report.evaluations import evaluation_table
from rankfold.report.facts import RunFacts
from rankfold.report.formats import format_count, format_instant
from rankfold.report.mistakes import parse_failures, score_of, scores_before, verdict_of, worst_first
from rankfold.report.notes import BEST_THRESHOLDS, merge_notes, score_notes
from rankfold.report.scores import headline_rows, label_rows, score_rows, threshold_rows, way_rows
from rankfold.report.timing import stage_rows
from rankfold.report.training import training_rows

OPEN_EXAMPLES = 20
"""Examples shown at once; the rest is folded."""

OPEN_PARSE_FAILURES = 5
MAX_PARSE_FAILURES = 100

OPEN_EVALUATIONS = 10


def render_html(facts: RunFacts) -> str:
    """One self-contained page; every text that comes from the data or the recipe is escaped."""
    return (
        _templates()
        .get_template("report.html")
        .render(
            facts=facts,
            task_title=facts.about_task.title,
            **_scores(facts),
            **_examples(facts),
            **_training(facts),
            stages=stage_rows(facts),
            gpus=_gpus(facts),
        )
    )


def _scores(facts: RunFacts) -> dict[str, Any]:
    return {
        "headline": headline_rows(facts),
        "merge_notes": merge_notes(facts),
        "scores": score_rows(facts),
        "score_notes": score_notes(facts),
        "ways": way_rows(facts),
        "thresholds": threshold_rows(facts),
        "threshold_note": BEST_THRESHOLDS,
        "labels": label_rows(facts),
    }


def _examples(facts: RunFacts) -> dict[str, Any]:
    evaluated = facts.evaluated
    examples = worst_first(evaluated) if evaluated else ()
    failures = parse_failures(evaluated) if evaluated else ()
    return {
        "are_scored": any(score_of(example) < 1 for example in examples),
        "open_examples": examples[:OPEN_EXAMPLES],
        "folded_examples": examples[OPEN_EXAMPLES:],
        "scores_before": scores_before(facts),
        "num_parse_failures": len(failures),
        "open_failures": failures[:OPEN_PARSE_FAILURES],
        "folded_failures": failures[OPEN_PARSE_FAILURES:MAX_PARSE_FAILURES],
        "marks_of": marks.marks_of,
        "segments": marks.segments,
        "is_entangled": marks.is_entangled,
        "excerpts": marks.excerpts,
        "verdict_of": verdict_of,
    }


def _training(facts: RunFacts) -> dict[str, Any]:
    training = facts.training
    return {
        "curve": loss_curve.loss_curve(training.losses) if training else None,
        "drawing": loss_curve,
        "training": training_rows(training) if training else (),
        "validation": evaluation_table(facts),
        "open_evaluations": OPEN_EVALUATIONS,
    }


def _gpus(facts: RunFacts) -> str:
    counts = Counter(facts.environment.gpus if facts.environment else ())
    return ", ".join(f"{number} × {gpu}" if number > 1 else gpu for gpu, number in counts.items())


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=format_count, instant=format_instant)
    return environment

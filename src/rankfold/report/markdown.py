"""The report in short, for the terminal."""

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len

from rankfold.report.facts import EntityResult, ExampleResult, RunFacts
from rankfold.report.marks import marks_of
from rankfold.report.mistakes import worst_first
from rankfold.report.scores import LabelScores, label_rows, score_rows

NUM_MISTAKES = 3
MAX_TEXT = 160
"""Characters of an example's text: two lines of a terminal."""


def render_markdown(facts: RunFacts) -> str:
    """Scores before and after, labels, the worst mistakes, and where the whole report is."""
    sections = [
        [f"# {facts.name}: {facts.state}", "", f"{facts.task} · {_code(facts.model)} · {facts.run_id}"],
        _failures(facts),
        _scores(facts),
        _labels(facts),
        _mistakes(facts),
        [f"Whole report: {facts.html}"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _failures(facts: RunFacts) -> list[str]:
    return [
        f"- {job.job} {job.state}" + (f": {_code(job.error)}" if job.error else "")
        for job in facts.jobs
        if job.state in ("failed", "cancelled")
    ]


def _scores(facts: RunFacts) -> list[str]:
    rows = score_rows(facts)
    if not rows:
        return ["No scores yet: they appear when the evaluation has been merged."]
    table = [("score", "before", "after", "change")]
    table += [(row.title, row.before, row.after, row.change) for row in rows]
    return _table(table)


def _labels(facts: RunFacts) -> list[str]:
    rows = label_rows(facts)
    if not rows:
        return []
    table = [("label", "gold", "F1 before", "F1 after", "precision", "recall", "predicted", "correct")]
    for row in rows:
        now = row.after or row.before or LabelScores(*["n/a"] * 5)
        table.append(
            (
                _inline(row.label),
                row.num_gold,
                row.before.f1 if row.before else "n/a",
                row.after.f1 if row.after else "n/a",
                now.precision,
                now.recall,
                now.num_predicted,
                now.num_correct,
            )
        )
    return _table(table)


def _mistakes(facts: RunFacts) -> list[str]:
    results = worst_first(facts.evaluated) if facts.evaluated else ()
    worst = [result for result in results if result.f1 < 1][:NUM_MISTAKES]
    if not worst:
        return []
    lines = ["## Worst mistakes"]
    for number, result in enumerate(worst, start=1):
        lines += ["", *_mistake(number, result)]
    return lines


def _mistake(number: int, result: ExampleResult) -> list[str]:
    if isinstance(result, EntityResult):
        lines = [f"{number}. {_code(result.id)} · F1 {result.f1:.3f}", f"   {_code(result.text)}"]
        lines += [f"   - {said}" for said in _entity_mistakes(result)]
        return lines
    golds = ", ".join(dict.fromkeys(_code(answer.text) for answer in result.answers)) or "no answer"
    return [
        f"{number}. {_code(result.id)} · F1 {100 * result.f1:.2f}",
        f"   {_code(result.question)}",
        f"   - gold: {golds}",
        f"   - predicted: {_code(result.prediction) if result.prediction else 'no answer'}",
    ]


def _entity_mistakes(result: EntityResult) -> list[str]:
    said = [
        f"{mark.kind}: {_code(result.text[mark.start : mark.end])} {_inline(mark.label)}"
        for mark in marks_of(result)
        if mark.kind != "right"
    ]
    said += [
        f"invented, not in the text: {_code(entity.text)} {_inline(entity.label)}"
        for entity in result.invented
    ]
    return [*said, "the generated text could not be read"] if result.parse_failure else said


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose columns line up in a terminal too: the first to the left, numbers to the right."""
    widths = [max(3, *(cell_len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return ["| " + " | ".join(_padded(row, widths)) + " |" for row in (rows[0], rule, *rows[1:])]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = [(cell, " " * (width - cell_len(cell))) for cell, width in zip(row, widths, strict=True)]
    return [first[0] + first[1], *(space + cell for cell, space in others)]


def _code(text: str) -> str:
    """The text in backticks, so that nothing in it is taken for Markdown; long ones are cut."""
    plain = _printable(text)
    plain = plain if len(plain) <= MAX_TEXT else plain[: MAX_TEXT - 1] + "…"
    fence = "`"
    while fence in plain:
        fence += "`"
    space = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{space}{plain}{space}{fence}"


def _inline(text: str) -> str:
    """The text as it is, but for what would end a table's cell."""
    return _printable(text).replace("|", "\\|")


def _printable(text: str) -> str:
    """On one line and without control characters: a terminal obeys some of them."""
    joined = " ".join(text.split())
    return "".join("�" if unicodedata.category(char) in ("Cc", "Cs") else char for char in joined)

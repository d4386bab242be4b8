"""Writes the report into the run's folder."""

from rankfold import atomic
from rankfold.report.html import render_html
from rankfold.report.markdown import render_markdown
from rankfold.report.read import read_facts
from rankfold.run_folder import RunFolder


def write_report(run: RunFolder) -> None:
    """Write report.html and report.md from what the run has written so far.

    Raises:
        OperationalError: A file of the run is missing or damaged.
        OSError: The folder cannot be written.
    """
    facts = read_facts(run)
    atomic.write_text(run.report_html, _encodable(render_html(facts)))
    atomic.write_text(run.report_markdown, _encodable(render_markdown(facts)))


def _encodable(text: str) -> str:
    """Half a surrogate pair, which JSON may hold and UTF-8 may not, becomes a question mark."""
    return text.encode("utf-8", errors="replace").decode("utf-8")

"""A run's report in the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator

from launch.runs import name_for_commands
from launch.tables import is_terminal
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder


def report_lines(run: RunFolder) -> Iterator[str]:
    """Yield the report, rendered where a terminal reads it, and where its HTML page is.

    Raises:
        UserError: The run has nothing to report yet.
    """
    text = report_markdown(run)
    yield from (_rendered(text) if is_terminal() else text).splitlines()
    if str(run.report_html) not in text:
        yield f"report: {run.report_html}"


def report_markdown(run: RunFolder) -> str:
    """The report as Markdown, written first where the run has not done so.

    Raises:
        UserError: The run has nothing to report yet.
    """
    if not (run.report_markdown.is_file() and run.report_html.is_file()):
        if not run.prepare_summary.is_file():
            raise UserError(
                f"{run.run_id} has nothing to report yet", remedy=f"launch status {name_for_commands(run)}"
            )
        from rankfold.report.write import write_report

        write_report(run)
    return run.report_markdown.read_text(encoding="utf-8")


def _rendered(markdown: str) -> str:
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    output = io.StringIO()
    Console(file=output, force_terminal=True, width=console.width).print(Markdown(markdown))
    return output.getvalue()

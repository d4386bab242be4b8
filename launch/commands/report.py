"""`launch report`: what came out."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_json, add_run, command
from launch.output import print_json, print_lines

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(commands, "report", "show a run's report", "launch report latest")
    add_run(parser)
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.report import report_lines, report_markdown
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    if chosen.json:
        markdown = report_markdown(run)
        print_json({"run_id": run.run_id, "html": str(run.report_html), "markdown": markdown})
    else:
        print_lines(report_lines(run))
    return 0

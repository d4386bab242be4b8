"""`launch compare`: which run is best."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_json, command
from launch.output import print_json, print_lines, uses_color

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "compare",
        "rank runs by a metric, with the settings in which they differ",
        """
launch compare
launch compare --sweep qwen-ner-sweep-3f9a1c --metric entity_recall
launch compare qwen-ner-20260101-120000-3f9a1c qwen-ner-20260102-120000-77b0de --json
""",
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="run ids, starts of them, or folders (default: newest sweep)"
    )
    parser.add_argument("--sweep", metavar="ID", help="the runs of a sweep, or the start of its name")
    parser.add_argument(
        "--metric", metavar="NAME", help="a number of metrics.json or train_loss (default: the task's own)"
    )
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.compare import chosen_runs, compare
    from launch.compare_text import comparison_lines
    from launch.runs import runs_folder

    title, runs = chosen_runs(chosen.runs, chosen.sweep, runs_folder(chosen.runs_dir))
    comparison = compare(title, runs, chosen.metric)
    if chosen.json:
        print_json(comparison.to_json())
    else:
        print_lines(comparison_lines(comparison, color=uses_color()))
    return 0

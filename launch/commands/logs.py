"""`launch logs`: what the ranks wrote."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_run, command, count
from launch.output import print_lines

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "logs",
        "print the logs of a run's ranks",
        """
launch logs latest -f
launch logs latest --stage train --rank 1 --lines 50
""",
    )
    add_run(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    parser.add_argument("--stage", metavar="S", help="only a stage (train) or a job (evaluate-base-0)")
    parser.add_argument("--rank", type=count, metavar="R", help="only one rank, counted from 0")
    parser.add_argument("--lines", type=count, metavar="N", help="only the last N lines of each log")


def run(chosen: Namespace) -> int:
    from launch.logs import log_lines
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    print_lines(
        log_lines(run, stage=chosen.stage, rank=chosen.rank, lines=chosen.lines, follow=chosen.follow)
    )
    return 0

"""`launch logs`: what the ranks wrote."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from launch.arguments import add_run, command, count

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "logs",
        "print the logs of a run's ranks and batch scripts",
        """
launch logs latest -f
launch logs latest --stage train --rank 1 --lines 50
launch logs latest --stage evaluate-base-0 --json
""",
    )
    add_run(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    parser.add_argument("--stage", metavar="S", help="only a stage (train) or a job (evaluate-base-0)")
    parser.add_argument(
        "--rank", type=count, metavar="R", help="only one rank, counted from 0, and no batch script"
    )
    parser.add_argument("--lines", type=count, metavar="N", help="only the last N lines of each log")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(chosen: Namespace) -> int:
    from launch.logs import log_lines
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    for line in log_lines(
        run, stage=chosen.stage, rank=chosen.rank, lines=chosen.lines, follow=chosen.follow
    ):
        print(json.dumps(asdict(line), ensure_ascii=False) if chosen.json else line, flush=True)
    return 0

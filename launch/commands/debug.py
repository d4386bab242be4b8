"""`launch debug`: every stage in this process."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_recipe, command
from launch.output import print_lines

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "debug",
        "run every stage in this process on a slice of the data; breakpoint() works",
        """
launch debug recipes/quickstart.yaml
launch debug recipes/quickstart.yaml train.max_steps=20
""",
    )
    add_recipe(parser)


def run(chosen: Namespace) -> int:
    from launch.debug import debug
    from launch.report import report_lines
    from launch.runs import runs_folder

    run = debug(chosen.recipe, chosen.overrides, runs_folder(chosen.runs_dir))
    print_lines(report_lines(run))
    return 0

"""`launch why`: why a run failed, or what it waits for."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_json, add_run, command
from launch.output import print_json, print_lines, uses_color

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "why",
        "say why a run failed or what it waits for, and what to do next",
        """
launch why latest
launch why recipes/quickstart.yaml --json
""",
    )
    add_run(parser)
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.runs import find_run, name_for_commands, runs_folder
    from launch.why.diagnose import diagnose
    from launch.why.text import diagnosis_lines

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    diagnosis = diagnose(run, name_for_commands(run))
    if chosen.json:
        print_json(diagnosis.to_json())
    else:
        print_lines(diagnosis_lines(diagnosis, color=uses_color()))
    return 0

"""`launch status`: how runs are."""

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
        "status",
        "show how runs are",
        """
launch status
launch status latest --all
launch status recipes/quickstart.yaml --json
""",
    )
    add_run(parser, optional=True)
    parser.add_argument("--all", action="store_true", help="show each shard of a large array")
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.runs import all_runs, find_run, runs_folder
    from launch.status import read_all, read_status
    from launch.status_text import run_lines, runs_lines

    folder = runs_folder(chosen.runs_dir)
    if chosen.run is None:
        statuses = read_all(all_runs(folder))
        if chosen.json:
            print_json([status.to_json() for status in statuses])
        elif not statuses:
            print(f"no runs in {folder}; start one with: launch submit RECIPE")
        else:
            print_lines(runs_lines(statuses, color=uses_color()))
        return 0
    run = find_run(chosen.run, folder)
    status = read_status(run)
    if chosen.json:
        print_json(status.to_json())
    else:
        print_lines(run_lines(run, status, color=uses_color(), everything=chosen.all))
    return 0

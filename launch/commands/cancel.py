"""`launch cancel`: stop a run."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_run, command

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(commands, "cancel", "stop a run and everything it started", "launch cancel latest")
    add_run(parser)


def run(chosen: Namespace) -> int:
    from launch.cancel import cancel_run
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    was_running = cancel_run(run)
    print(f"{run.run_id} {'is cancelled' if was_running else 'had ended already'}")
    return 0

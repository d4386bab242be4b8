"""`launch cancel`: stop a run."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_json, add_run, command
from launch.output import print_json

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "cancel",
        "stop a run and everything it started",
        """
launch cancel latest
launch cancel latest --json
""",
    )
    add_run(parser)
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.cancel import cancel_run
    from launch.runs import find_run, runs_folder
    from launch.status import names

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    stopped = cancel_run(run)
    if chosen.json:
        jobs = [{"job": job.job, "state": job.state, "slurm_id": job.slurm_id} for job in stopped]
        print_json({"run_id": run.run_id, "cancelled": bool(stopped), "stopped": jobs})
    else:
        print(f"{run.run_id} {'is cancelled' if stopped else 'had ended already'}")
        for state in ("running", "pending"):
            if those := [job for job in stopped if job.state == state]:
                print(f"  {state}: {names(those)}")
    return 0

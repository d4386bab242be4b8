"""`launch resume`: go on with a run that ended before it was done."""

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
        "resume",
        "go on with a run that failed, was cancelled or lost its machine; what it has is kept",
        """
launch resume latest --follow
launch resume qwen-ner-20260101-120000-3f9a1c
""",
    )
    add_run(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--follow", action="store_true", help="watch until it ends, then show the report")
    add_json(output)


def run(chosen: Namespace) -> int:
    from launch.resume import resume_run
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    resumed = resume_run(run)
    if chosen.json:
        print_json(
            {
                "run_id": run.run_id,
                "folder": str(run.root),
                "cluster": resumed.cluster,
                "resumed": bool(resumed.jobs),
                "jobs": resumed.jobs,
                "job_ids": resumed.job_ids,
                "driver_pid": resumed.driver_pid,
                "code_changed": resumed.code_changed,
            }
        )
        return 0
    if not resumed.jobs:
        print(f"{run.run_id}: nothing is missing\nreport: {run.report_html}")
        return 0
    print(f"{run.run_id} goes on with {', '.join(resumed.jobs)}", flush=True)
    if resumed.code_changed:
        print(
            "note: the code has changed since this run was made; these jobs run it as it is now", flush=True
        )
    if chosen.follow:
        from launch.follow import follow_run

        return follow_run(run)
    from launch.runs import name_for_commands

    name = name_for_commands(run)
    print(f"next: launch status {name}\n      launch logs -f {name}")
    return 0

"""`launch submit`: run a recipe on Slurm or on this machine."""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_cluster, add_json, add_recipe, command
from launch.output import print_json

if TYPE_CHECKING:
    from pathlib import Path

    from launch.arguments import Commands
    from rankfold.run_folder import RunFolder


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "submit",
        "run a recipe on Slurm or on this machine",
        """
launch submit recipes/quickstart.yaml --follow
launch submit recipes/quickstart.yaml train.num_train_epochs=1 --cluster local
""",
    )
    add_recipe(parser)
    add_cluster(parser)
    parser.add_argument("--again", action="store_true", help="start even where the same recipe still runs")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--follow", action="store_true", help="watch until it ends, then show the report")
    add_json(output)


def run(chosen: Namespace) -> int:
    from launch.planning import plan_recipe
    from launch.runs import runs_folder
    from launch.submit import submit

    planned = plan_recipe(chosen.recipe, chosen.overrides, cluster=chosen.cluster, profile=chosen.profile)
    submitted = submit(planned, runs_folder(chosen.runs_dir), again=chosen.again)
    run = submitted.run
    if chosen.json:
        print_json(
            {
                "run_id": run.run_id,
                "folder": str(run.root),
                "cluster": submitted.cluster,
                "job_ids": submitted.job_ids,
                "driver_pid": submitted.driver_pid,
            }
        )
        return 0
    where = (
        f"Slurm jobs {', '.join(submitted.job_ids.values())}"
        if submitted.cluster == "slurm"
        else f"this machine, process {submitted.driver_pid}"
    )
    print(f"{run.run_id}: {where}\nfolder: {run.root}", flush=True)
    for note in planned.plan.notes:
        print(f"note: {note}", flush=True)
    if chosen.follow:
        from launch.follow import follow_run

        return follow_run(run)
    name = _name_for_commands(run, chosen.runs_dir)
    print(f"next: launch status {name}\n      launch logs -f {name}\n      launch cancel {name}")
    return 0


def _name_for_commands(run: RunFolder, runs_dir: Path | None) -> str:
    """What to write for RUN in the next command: the id, or the folder where the id is not found."""
    return run.run_id if runs_dir is None else shlex.quote(str(run.root))

"""`launch submit`: run a recipe, or a sweep over it, on Slurm or on this machine."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from launch.arguments import add_cluster, add_json, add_recipe, command
from launch.output import print_json, print_lines, uses_color

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launch.arguments import Commands
    from launch.combinations import Combination
    from launch.submit import Submitted
    from launch.sweeps import SubmittedCombination


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "submit",
        "run a recipe on Slurm or on this machine",
        """
launch submit recipes/quickstart.yaml --follow
launch submit recipes/quickstart.yaml train.num_train_epochs=1 --cluster local
launch submit recipes/quickstart.yaml train.learning_rate=1e-4,3e-4 seed=1,2   one run a combination
""",
    )
    add_recipe(parser)
    add_cluster(parser)
    parser.add_argument(
        "--again", action="store_true", help="start another run even where the same recipe and code has one"
    )
    parser.add_argument("--yes", action="store_true", help="start a large sweep without being asked")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--follow", action="store_true", help="watch until it ends, then show the report")
    add_json(output)


def run(chosen: Namespace) -> int:
    from launch.combinations import combinations

    found = combinations(chosen.overrides)
    return _submit_one(chosen) if len(found) == 1 else _submit_sweep(chosen, found)


def _submit_one(chosen: Namespace) -> int:
    from launch.planning import plan_recipe
    from launch.runs import name_for_commands, runs_folder
    from launch.submit import submit

    planned = plan_recipe(chosen.recipe, chosen.overrides, cluster=chosen.cluster, profile=chosen.profile)
    submitted = submit(planned, runs_folder(chosen.runs_dir), again=chosen.again)
    if chosen.json:
        print_json(submitted_json(submitted))
        return 0
    notes = planned.plan.notes if submitted.is_new else ()
    name = name_for_commands(submitted.run)
    for line in (*_submitted_lines(submitted, name), *(f"note: {note}" for note in notes)):
        print(line, flush=True)
    if chosen.follow:
        from launch.follow import follow_run

        return follow_run(submitted.run)
    if submitted.state == "completed":
        print(f"next: launch report {name}\n      --again starts another run")
    else:
        again = "" if submitted.is_new else "\n      --again starts another run"
        print(f"next: launch status {name}\n      launch logs -f {name}\n      launch cancel {name}{again}")
    return 0


def submitted_json(submitted: Submitted) -> dict[str, Any]:
    """A submission for a script."""
    return {
        "run_id": submitted.run.run_id,
        "folder": str(submitted.run.root),
        "cluster": submitted.cluster,
        "job_ids": submitted.job_ids,
        "driver_pid": submitted.driver_pid,
        "submitted": submitted.is_new,
        "state": submitted.state,
        "resumable": submitted.stopped and submitted.stopped.run_id,
    }


def _submitted_lines(submitted: Submitted, name: str) -> list[str]:
    run = submitted.run
    if not submitted.is_new:
        return [
            f"{run.run_id}: the same recipe and code, {submitted.state}; nothing was submitted",
            f"folder: {run.root}",
        ]
    where = (
        f"Slurm jobs {', '.join(submitted.job_ids.values())}"
        if submitted.cluster == "slurm"
        else f"this machine, process {submitted.driver_pid}"
    )
    lines = [f"{run.run_id}: {where}", f"folder: {run.root}", *submitted.notes]
    if submitted.stopped is not None:
        stopped = name.replace(run.run_id, submitted.stopped.run_id)
        lines.append(f"note: launch resume {stopped} would go on with an earlier run of the same instead")
    return lines


def _submit_sweep(chosen: Namespace, found: Sequence[Combination]) -> int:
    from launch.runs import runs_folder
    from launch.sweeps import agree, names_to_compare, plan_combinations, submit_sweep, sweep_lines

    agree(len(found), yes=chosen.yes, can_ask=sys.stdin.isatty() and not chosen.json)
    planned = plan_combinations(found, chosen.recipe, cluster=chosen.cluster, profile=chosen.profile)
    sweep, runs = submit_sweep(planned, runs_folder(chosen.runs_dir), again=chosen.again)
    if chosen.json:
        rows = [submitted_json(one.submitted) | {"values": dict(one.values)} for one in runs]
        print_json({"sweep": sweep, "runs": rows})
        return 0
    print_lines(sweep_lines(sweep, runs, color=uses_color()))
    if chosen.follow:
        return _follow(runs, sweep)
    folder = "" if chosen.runs_dir is None else f" --runs-dir {shlex.quote(str(chosen.runs_dir))}"
    names = names_to_compare(sweep, runs)
    print(f"next: launch status{folder}\n      launch compare {names}{folder}")
    return 0


def _follow(runs: Sequence[SubmittedCombination], sweep: str) -> int:
    """Follow one run after the other, then rank them."""
    from launch.compare import compare
    from launch.compare_text import comparison_lines
    from launch.follow import follow_run

    code = 0
    for one in runs:
        code = max(code, follow_run(one.submitted.run))
    comparison = compare(f"sweep {sweep}", [one.submitted.run for one in runs], None)
    print_lines(comparison_lines(comparison, color=uses_color()))
    return code

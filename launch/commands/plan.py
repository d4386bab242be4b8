"""`launch plan`: what would run."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_cluster, add_json, add_recipe, command
from launch.output import print_json, print_lines, uses_color

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "plan",
        "show what would run, and write nothing",
        """
launch plan recipes/quickstart.yaml
launch plan recipes/quickstart.yaml train.learning_rate=1e-4 evaluation.shards=8
launch plan recipes/quickstart.yaml --cluster slurm --profile mylab
""",
    )
    add_recipe(parser)
    add_cluster(parser)
    parser.add_argument("--all", action="store_true", help="also show values left at their defaults")
    parser.add_argument(
        "--no-scripts",
        dest="scripts",
        action="store_false",
        help="leave out the batch scripts (or, without Slurm, the commands)",
    )
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.combinations import combinations
    from launch.fetch import note_missing
    from launch.plan_text import plan_json, plan_lines
    from launch.planning import plan_recipe
    from launch.runs import runs_folder

    first, *others = combinations(chosen.overrides)
    planned = note_missing(
        plan_recipe(chosen.recipe, first.overrides, cluster=chosen.cluster, profile=chosen.profile)
    )
    folder = runs_folder(chosen.runs_dir)
    if chosen.json:
        sweep = {"num_runs": 1 + len(others)} if others else {}
        print_json(plan_json(planned, runs_folder=folder) | sweep)
    else:
        if others:
            print(f"{1 + len(others)} runs, one a combination; the first, {first}:")
        print_lines(
            plan_lines(
                planned,
                runs_folder=folder,
                everything=chosen.all,
                scripts=chosen.scripts,
                color=uses_color(),
            )
        )
    return 0

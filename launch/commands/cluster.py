"""`launch cluster`: a real Slurm on one machine."""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_json, command, count
from launch.output import print_json

if TYPE_CHECKING:
    from launch.arguments import Commands

OPTIONS = {
    "nodes": "nodes, node1 to nodeN (default: 2)",
    "cpus": "CPUs that each node declares (default: 4)",
    "gpus": "stand-in GPUs that each node declares (default: 2)",
    "memory-mb": "memory that each node declares (default: 512000)",
}


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "cluster",
        "start a real Slurm on this machine, to try everything; it needs root and Slurm's packages",
        """
launch cluster up
launch cluster up small --nodes 1 --cpus 2 --gpus 0 --no-accounting
launch cluster up --slurm-conf 'PartitionName=short Nodes=ALL MaxTime=5'
eval "$(launch cluster env)" && launch submit recipes/quickstart.yaml --follow
launch cluster status
launch cluster down
""",
    )
    parser.add_argument("action", choices=("up", "down", "status", "env"))
    parser.add_argument("name", metavar="NAME", nargs="?", default="dev", help="which one (default: dev)")
    up = parser.add_argument_group("options of up")
    for option, meaning in OPTIONS.items():
        up.add_argument(f"--{option}", type=count, metavar="N", help=meaning)
    up.add_argument("--no-accounting", action="store_true", help="start sooner, with sacct disabled")
    up.add_argument(
        "--slurm-conf",
        action="append",
        default=[],
        metavar="LINE",
        help="a line to end slurm.conf with; may be repeated, a key's last value wins",
    )
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.slurm import devcluster

    options = _options(chosen)
    if options and chosen.action != "up":
        chosen.parser.error(f"{options[0]} is for `up` only")
    if chosen.action == "up":
        devcluster.start(chosen.name, options)
    elif chosen.action == "down":
        devcluster.stop(chosen.name)
    elif chosen.action == "env":
        _print_environment(devcluster.environment(chosen.name), as_json=chosen.json)
        return 0
    state = devcluster.read_state(chosen.name)
    if chosen.json:
        print_json({key: getattr(state, key) for key in ("name", "state", "slurm_conf", "daemons")})
    else:
        print(state.shown)
        if chosen.action == "up":
            print(_next_steps(chosen.name))
    # After `down`, being down is what was asked for.
    return state.exit_code if chosen.action != "down" else 0


def _options(chosen: Namespace) -> list[str]:
    values = {option: getattr(chosen, option.replace("-", "_")) for option in OPTIONS}
    words = [
        word for option, value in values.items() if value is not None for word in (f"--{option}", str(value))
    ]
    words += [word for line in chosen.slurm_conf for word in ("--slurm-conf", line)]
    return [*words, "--no-accounting"] if chosen.no_accounting else words


def _print_environment(variables: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(variables)
    else:
        for variable, value in variables.items():
            print(f"export {variable}={shlex.quote(value)}")


def _next_steps(name: str) -> str:
    named = "" if name == "dev" else f" {name}"
    return (
        f'next: eval "$(launch cluster env{named})"\n'
        "      launch submit recipes/quickstart.yaml --follow\n"
        f"      launch cluster down{named}"
    )

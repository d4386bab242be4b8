"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from launch.arguments import new_parser, parse_arguments
from launch.commands import (
    cancel,
    cluster,
    compare,
    debug,
    doctor,
    export,
    fetch,
    logs,
    merge,
    plan,
    predict,
    report,
    resume,
    status,
    submit,
    why,
)
from rankfold.errors import EXIT_OPERATIONAL, RankfoldError

if TYPE_CHECKING:
    from launch.arguments import Commands


class Command(Protocol):
    """A module of `launch.commands`."""

    def add(self, commands: Commands) -> None: ...

    def run(self, chosen: Namespace) -> int: ...


COMMANDS: dict[str, Command] = {
    "plan": plan,
    "fetch": fetch,
    "submit": submit,
    "status": status,
    "why": why,
    "logs": logs,
    "cancel": cancel,
    "resume": resume,
    "report": report,
    "compare": compare,
    "predict": predict,
    "export": export,
    "merge": merge,
    "debug": debug,
    "doctor": doctor,
    "cluster": cluster,
}
"""In the order of `launch --help`."""


def build_parser() -> ArgumentParser:
    """The parser of every command."""
    parser, commands = new_parser()
    for command in COMMANDS.values():
        command.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 for an operational failure, 2 for a mistake of the user."""
    chosen = parse_arguments(build_parser(), sys.argv[1:] if arguments is None else arguments)
    try:
        code = COMMANDS[chosen.command].run(chosen)
        sys.stdout.flush()
    except RankfoldError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return EXIT_OPERATIONAL
    except BrokenPipeError:
        # The reader, such as `head`, has gone; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OPERATIONAL
    return code

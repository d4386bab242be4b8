"""What can be typed after `launch`."""

from __future__ import annotations

import difflib
import re
from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
    _ActionsContainer,
    _SubParsersAction,
)
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

DESCRIPTION = """\
Fine-tune a language model from one recipe, on Slurm or on this machine.

  launch plan recipes/quickstart.yaml              what would run
  launch submit recipes/quickstart.yaml --follow   run it and watch
  launch status                                    all runs
"""


if TYPE_CHECKING:
    Commands = _SubParsersAction[ArgumentParser]


def new_parser() -> tuple[ArgumentParser, Commands]:
    """The parser, and where each command adds its own."""
    parser = ArgumentParser(
        prog="launch", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    return parser, parser.add_subparsers(dest="command", required=True, metavar="COMMAND")


def parse_arguments(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse a command line; overrides may stand before, between and after options."""
    chosen, rest = parser.parse_known_args(arguments)
    takes_overrides: bool = chosen.takes_overrides
    unknown = [word for word in rest if word.startswith("-") or "=" not in word or not takes_overrides]
    if unknown:
        chosen.parser.error(_unknown_words(unknown, chosen.parser, takes_overrides))
    if takes_overrides:
        chosen.overrides = rest
    return chosen


def _unknown_words(words: Sequence[str], parser: ArgumentParser, takes_overrides: bool) -> str:
    options = re.findall(r"--[a-z-]+", parser.format_help())
    near = [match for word in words for match in difflib.get_close_matches(word, options, n=1)]
    hint = f"; did you mean {near[0]}?" if near else ""
    if not hint and takes_overrides and not words[0].startswith("-"):
        hint = "; an override is key.path=value, such as train.learning_rate=1e-4"
    return f"unknown: {' '.join(words)}{hint}"


def command(commands: Commands, name: str, summary: str, examples: str) -> ArgumentParser:
    """Add the parser of one command, with the option that all have."""
    added = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines()),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    added.set_defaults(parser=added, takes_overrides=False)
    added.add_argument(
        "--runs-dir",
        type=Path,
        metavar="DIR",
        help="folder of all runs (default: $LAUNCH_RUNS_DIR, or runs)",
    )
    return added


def add_recipe(parser: ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [options] RECIPE [key.path=value ...]"
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="recipe file, followed by overrides")
    parser.set_defaults(takes_overrides=True)


def add_run(parser: ArgumentParser, *, optional: bool = False) -> None:
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?" if optional else None,
        help="run id, the start of one, a run's folder, a recipe (its newest run), or `latest`",
    )


def add_cluster(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--cluster",
        choices=("auto", "slurm", "local"),
        default="auto",
        help="where to run; auto: Slurm where it answers, else this machine",
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="cluster profile: a name, or a path ending in .yaml"
    )


def add_json(parser: _ActionsContainer) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def count(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def share(text: str) -> float:
    """A number between 0 and 1."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return share

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

OVERRIDABLE = ("plan", "submit", "debug", "merge")
DESCRIPTION = """\
Fine-tune a language model from one recipe, on Slurm or on this machine.

  launch plan recipes/quickstart.yaml              what would run
  launch submit recipes/quickstart.yaml --follow   run it and watch
  launch status                                    all runs
"""


if TYPE_CHECKING:
    Commands = _SubParsersAction[ArgumentParser]


def build_parser() -> ArgumentParser:
    """The parser of every command."""
    parser = ArgumentParser(
        prog="launch", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_plan(commands)
    _add_submit(commands)
    _add_status(commands)
    _add_logs(commands)
    _add_cancel(commands)
    _add_report(commands)
    _add_merge(commands)
    _add_debug(commands)
    return parser


def parse_arguments(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse a command line; overrides may stand before, between and after options."""
    chosen, rest = parser.parse_known_args(arguments)
    takes_overrides = chosen.command in OVERRIDABLE
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


def _command(commands: Commands, name: str, summary: str, examples: str) -> ArgumentParser:
    added = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines()),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    added.set_defaults(parser=added)
    added.add_argument(
        "--runs-dir",
        type=Path,
        metavar="DIR",
        help="folder of all runs (default: $LAUNCH_RUNS_DIR, or runs)",
    )
    return added


def _add_recipe(parser: ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [options] RECIPE [key.path=value ...]"
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="recipe file, followed by overrides")


def _add_run(parser: ArgumentParser, *, optional: bool = False) -> None:
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?" if optional else None,
        help="run id, the start of one, a run's folder, a recipe (its newest run), or `latest`",
    )


def _add_cluster(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--cluster",
        choices=("auto", "slurm", "local"),
        default="auto",
        help="where to run; auto: Slurm where it answers, else this machine",
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="cluster profile: a name, or a path ending in .yaml"
    )


def _add_json(parser: _ActionsContainer) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_plan(commands: Commands) -> None:
    parser = _command(
        commands,
        "plan",
        "show what would run, and write nothing",
        """
launch plan recipes/quickstart.yaml
launch plan recipes/quickstart.yaml train.learning_rate=1e-4 evaluation.shards=8
launch plan recipes/quickstart.yaml --cluster slurm --profile mylab
""",
    )
    _add_recipe(parser)
    _add_cluster(parser)
    parser.add_argument("--all", action="store_true", help="also show values left at their defaults")
    parser.add_argument(
        "--no-scripts",
        dest="scripts",
        action="store_false",
        help="leave out the batch scripts (or, without Slurm, the commands)",
    )
    _add_json(parser)


def _add_submit(commands: Commands) -> None:
    parser = _command(
        commands,
        "submit",
        "run a recipe on Slurm or on this machine",
        """
launch submit recipes/quickstart.yaml --follow
launch submit recipes/quickstart.yaml train.num_train_epochs=1 --cluster local
""",
    )
    _add_recipe(parser)
    _add_cluster(parser)
    parser.add_argument("--again", action="store_true", help="start even where the same recipe still runs")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--follow", action="store_true", help="watch until it ends, then show the report")
    _add_json(output)


def _add_status(commands: Commands) -> None:
    parser = _command(
        commands,
        "status",
        "show how runs are",
        """
launch status
launch status latest
launch status recipes/quickstart.yaml --json
""",
    )
    _add_run(parser, optional=True)
    _add_json(parser)


def _add_logs(commands: Commands) -> None:
    parser = _command(
        commands,
        "logs",
        "print the logs of a run's ranks",
        """
launch logs latest -f
launch logs latest --stage train --rank 1 --lines 50
""",
    )
    _add_run(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    parser.add_argument("--stage", metavar="S", help="only a stage (train) or a job (evaluate-base-0)")
    parser.add_argument("--rank", type=_count, metavar="R", help="only one rank, counted from 0")
    parser.add_argument("--lines", type=_count, metavar="N", help="only the last N lines of each log")


def _add_cancel(commands: Commands) -> None:
    parser = _command(commands, "cancel", "stop a run and everything it started", "launch cancel latest")
    _add_run(parser)


def _add_report(commands: Commands) -> None:
    parser = _command(commands, "report", "show a run's report", "launch report latest")
    _add_run(parser)
    _add_json(parser)


def _add_merge(commands: Commands) -> None:
    parser = _command(
        commands,
        "merge",
        "merge a run's records again under other settings, without the model",
        """
launch merge latest evaluation.max_answer_length=15
launch merge latest evaluation.n_best_size=5 evaluation.null_score_diff_threshold=-1.5
launch merge latest --tune-threshold
""",
    )
    parser.usage = f"{parser.prog} [options] RUN [evaluation.key=value ...]"
    _add_run(parser)
    parser.add_argument(
        "--tune-threshold",
        action="store_true",
        help="SQuAD v2: choose null_score_diff_threshold on a part of the test set, and score the rest",
    )
    parser.add_argument(
        "--tuning-share",
        type=_share,
        default=0.5,
        metavar="SHARE",
        help="share of the test set's contexts to choose the threshold on (default: 0.5)",
    )


def _add_debug(commands: Commands) -> None:
    parser = _command(
        commands,
        "debug",
        "run every stage in this process on a slice of the data; breakpoint() works",
        """
launch debug recipes/quickstart.yaml
launch debug recipes/quickstart.yaml train.max_steps=20
""",
    )
    _add_recipe(parser)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return share

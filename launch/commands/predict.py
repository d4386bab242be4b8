"""`launch predict`: answers to new rows."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from launch.arguments import add_run, command, count
from rankfold.errors import UserError

if TYPE_CHECKING:
    from launch.arguments import Commands
    from rankfold.data.lines import Line

STANDARD = "-"
"""Stands for standard input, or output."""


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "predict",
        "answer new rows with the model of a run",
        """
launch predict latest --input questions.jsonl --output answers.jsonl
launch predict latest --input texts.txt --format text
tail -f texts.jsonl | launch predict latest --input - --batch-size 1
""",
    )
    add_run(parser)
    parser.add_argument("--input", required=True, metavar="FILE", help="rows to answer; - is standard input")
    parser.add_argument(
        "--output", default=STANDARD, metavar="FILE", help="where answers go (default: standard output)"
    )
    parser.add_argument(
        "--format",
        choices=("jsonl", "text"),
        default="jsonl",
        help="a JSON object a line with the fields of the task's examples, or a text a line (default: jsonl)",
    )
    parser.add_argument("--base", action="store_true", help="answer with the model before training")
    parser.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help="rows read, computed and answered at a time (default: as the run evaluated)",
    )


def run(chosen: Namespace) -> int:
    from launch.job import OFFLINE, QUIET
    from launch.runs import find_run, runs_folder
    from rankfold import atomic

    found = find_run(chosen.run, runs_folder(chosen.runs_dir))
    lines = _lines(chosen.input)
    to_file = chosen.output != STANDARD
    if to_file:
        _check_output(Path(chosen.output))
    os.environ.update({name: os.environ.get(name, value) for name, value in (QUIET | OFFLINE).items()})
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    number = 0
    with atomic.file(Path(chosen.output)) if to_file else _standard_output() as output:
        # Takes seconds to import: a mistake in the command is told before.
        from rankfold.stages.predict import predict

        answers = predict(
            found, lines, text=chosen.format == "text", base=chosen.base, batch_size=chosen.batch_size
        )
        for answer in answers:
            output.write(answer)
            number += 1
            if not to_file:
                output.flush()
    if to_file:
        atomic.share(Path(chosen.output))
        print(f"{number:,} predictions: {chosen.output}")
    return 0


def _lines(name: str) -> Iterator[Line]:
    from rankfold.data.lines import lines_of_file, lines_of_stream

    if name == STANDARD:
        return lines_of_stream(sys.stdin.buffer, "standard input")
    if not Path(name).is_file():
        raise UserError(f"there is no file {name}", where="--input", remedy="Name a file, or - for a pipe.")
    return lines_of_file(Path(name))


def _check_output(path: Path) -> None:
    """Refuse, before anything is computed, what cannot be replaced by a file."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if path.exists() and not path.is_file():
        raise UserError(
            f"{path} is there already and not a file",
            where="--output",
            remedy="Name a file, or - for a pipe.",
        )
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(
            f"{folder} is not a folder you may write to", where="--output", remedy="Name another file."
        )


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    """Standard output for answers alone: whatever else is printed goes to standard error."""
    sys.stdout.flush()
    output = sys.stdout.buffer
    with redirect_stdout(sys.stderr):
        yield output


def _positive(text: str) -> int:
    if (number := count(text)) < 1:
        raise ArgumentTypeError("must be at least 1")
    return number

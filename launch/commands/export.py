"""`launch export`: a run's model as a folder that other programs load."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from launch.arguments import add_json, add_run, command
from launch.output import print_json, print_lines

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "export",
        "write a run's model as a folder that other programs load",
        """
launch export latest --to my-model
launch export latest --to my-model --dtype bfloat16
launch export latest --to my-model --gguf --ollama
""",
    )
    add_run(parser)
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="precision of the weights (default: model.torch_dtype of the recipe)",
    )
    parser.add_argument("--ollama", action="store_true", help="write a Modelfile for Ollama too")
    parser.add_argument("--gguf", action="store_true", help="write model.gguf too, for llama.cpp and Ollama")
    parser.add_argument(
        "--converter",
        type=Path,
        metavar="FILE",
        help="llama.cpp's convert_hf_to_gguf.py (default: $LLAMA_CPP_CONVERTER, or the one on PATH)",
    )
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.export import find_converter
    from launch.job import OFFLINE, QUIET
    from launch.runs import find_run, runs_folder
    from rankfold.errors import UserError

    if chosen.converter and not chosen.gguf:
        raise UserError("it makes GGUF files only", where="--converter", remedy="Add --gguf.")
    found = find_run(chosen.run, runs_folder(chosen.runs_dir))
    converter = find_converter(chosen.converter) if chosen.gguf else None
    os.environ.update({name: os.environ.get(name, value) for name, value in (QUIET | OFFLINE).items()})
    # What libraries print while they are imported is no part of the answer.
    with redirect_stdout(sys.stderr):
        # Takes seconds to import: a mistake in the command is told before.
        from rankfold.stages.export import export

        exported = export(found, chosen.to, dtype=chosen.dtype, ollama=chosen.ollama, converter=converter)
    if chosen.json:
        print_json(
            {"run_id": found.run_id, "folder": str(chosen.to), "kind": exported.kind, "notes": exported.notes}
        )
    else:
        print_lines([f"{exported.kind}: {chosen.to}", *(f"note: {note}" for note in exported.notes)])
    return 0

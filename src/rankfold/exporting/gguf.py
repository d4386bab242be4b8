"""A GGUF file of a model, made by llama.cpp's own converter."""

import subprocess
import sys
from pathlib import Path

from rankfold.errors import OperationalError

LAST_LINES = 12
"""As much of what a failed converter says as an error should hold."""


OUT_TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
"""llama.cpp's names of precisions."""


def write_gguf(converter: Path, folder: Path, target: Path, dtype: str) -> None:
    """Convert the model in `folder`, whose weights are of `dtype`, without quantising it.

    Args:
        converter: llama.cpp's `convert_hf_to_gguf.py`, run by this Python.

    Raises:
        OperationalError: The converter failed or wrote nothing.
    """
    done = subprocess.run(
        [
            sys.executable,
            str(converter),
            str(folder),
            "--outfile",
            str(target),
            "--outtype",
            OUT_TYPES[dtype],
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode != 0 or not target.is_file():
        said = "\n    ".join(done.stdout.strip().splitlines()[-LAST_LINES:]) or "nothing"
        raise OperationalError(
            f"the converter ended with {done.returncode} and wrote no whole GGUF file; it said:\n    {said}",
            where=str(converter),
            remedy="Install what it needs into this Python, or take a newer llama.cpp.",
        )

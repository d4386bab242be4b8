"""Finding what makes GGUF files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rankfold.errors import UserError

CONVERTER = "convert_hf_to_gguf.py"
CONVERTER_VARIABLE = "LLAMA_CPP_CONVERTER"


def find_converter(chosen: Path | None) -> Path:
    """llama.cpp's converter: the one that was named, or that the environment names, or on PATH.

    Raises:
        UserError: There is none.
    """
    named = chosen or Path(os.environ.get(CONVERTER_VARIABLE) or shutil.which(CONVERTER) or "")
    if named.is_file():
        return named.absolute()
    raise UserError(
        f"there is no converter {named}" if named.name else f"there is no {CONVERTER} on PATH",
        where="--gguf",
        remedy="Clone https://github.com/ggml-org/llama.cpp, install its requirements, and name its "
        f"{CONVERTER} with --converter or ${CONVERTER_VARIABLE}.",
    )

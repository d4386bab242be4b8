"""What a command prints: lines, JSON, in colour where somebody looks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable


def print_lines(lines: Iterable[str]) -> None:
    """Print each line as soon as there is one."""
    for line in lines:
        print(line, flush=True)


def print_json(value: object) -> None:
    """Print one JSON value for a script."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def uses_color() -> bool:
    """Whether standard output is a terminal whose user wants colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ

"""Plain aligned text: tables whose columns stay straight with Chinese in them, times, sizes."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from typing import TextIO

BOLD, DIM, RED, GREEN, YELLOW, RESET = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
STATE_COLORS = {"completed": GREEN, "failed": RED, "cancelled": YELLOW, "running": BOLD, "pending": DIM}


def is_terminal(stream: TextIO | None = None) -> bool:
    return (stream or sys.stdout).isatty()


def styled(text: str, style: str, *, color: bool) -> str:
    return f"{style}{text}{RESET}" if color and style else text


def width(text: str) -> int:
    """Columns that a text takes in a terminal: East Asian wide characters take two, marks none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> list[str]:
    """Lines of a table without borders; the columns named in `right` are aligned to the right."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = []
        for name, cell, wide in zip(header, row, widths, strict=True):
            space = " " * (wide - width(cell))
            padded.append(space + cell if name in right else cell + space)
        lines.append("  ".join(padded).rstrip())
    return lines


def duration(seconds: float | None) -> str:
    """Seconds as 0:07, 1:36 or 3:02:10."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speed(seconds_per_step: float, unit: str) -> str:
    """Whichever way round reads better: 2.9 s/step or 14.2 steps/s."""
    if seconds_per_step >= 1:
        return f"{seconds_per_step:.1f} s/{unit}"
    return f"{1 / seconds_per_step:.1f} {unit}s/s" if seconds_per_step > 0 else ""


def shortened(text: str, longest: int = 80) -> str:
    """A text of at most `longest` characters, with … for what is cut off."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

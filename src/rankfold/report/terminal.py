"""Texts and tables for a terminal, in Markdown."""

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len

MAX_TEXT = 160
"""Characters of an example's text: two lines of a terminal."""


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose columns line up in a terminal too: the first to the left, numbers to the right."""
    widths = [max(3, *(cell_len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return ["| " + " | ".join(_padded(row, widths)) + " |" for row in (rows[0], rule, *rows[1:])]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = [(cell, " " * (width - cell_len(cell))) for cell, width in zip(row, widths, strict=True)]
    return [first[0] + first[1], *(space + cell for cell, space in others)]


def code(text: str) -> str:
    """The text in backticks, so that nothing in it is taken for Markdown; long ones are cut."""
    plain = _printable(text)
    plain = plain if len(plain) <= MAX_TEXT else plain[: MAX_TEXT - 1] + "…"
    fence = "`"
    while fence in plain:
        fence += "`"
    space = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{space}{plain}{space}{fence}"


def inline(text: str) -> str:
    """The text as it is, but for what would end a table's cell."""
    return _printable(text).replace("|", "\\|")


def _printable(text: str) -> str:
    """On one line and without control characters: a terminal obeys some of them."""
    joined = " ".join(text.split())
    return "".join("�" if unicodedata.category(char) in ("Cc", "Cs") else char for char in joined)

"""Overrides with several values, and the combinations of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankfold.errors import RecipeError

PROSE = re.compile(r"prompt\.(?!language\b)")
"""Fields of free text, in which a comma is a comma."""

QUOTES = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')"""
QUOTED = re.compile(rf"\s*{QUOTES}\s*")
OPENED_QUOTE = re.compile(rf"(?<=[,\[{{:])\s*{QUOTES}")
"""In YAML a quote opens only where a value may begin; elsewhere it is an apostrophe."""


@dataclass(frozen=True)
class Combination:
    """One run of a sweep: the overrides it is planned with, and the texts that make it differ."""

    overrides: tuple[str, ...]
    texts: Mapping[str, str]

    def __str__(self) -> str:
        return " ".join(f"{key}={text}" for key, text in self.texts.items())


def combinations(overrides: Sequence[str]) -> list[Combination]:
    """Every combination of the values given, the last key changing fastest; one where nothing is swept.

    Raises:
        RecipeError: A value is empty or given twice, or a swept key is set twice.
    """
    keys = [override.partition("=")[0].strip() for override in overrides]
    choices = [_choices(key, override) for key, override in zip(keys, overrides, strict=True)]
    swept = [key for key, texts in zip(keys, choices, strict=True) if len(texts) > 1]
    for key in swept:
        if keys.count(key) > 1:
            raise RecipeError(
                f"{key} is set twice, once to several values",
                where="command line",
                remedy=f"Write all its values once: {key}=VALUE,VALUE.",
            )
    return [
        Combination(
            tuple(
                f"{key}={text}" if key in swept else override
                for key, text, override in zip(keys, texts, overrides, strict=True)
            ),
            {key: text for key, text in zip(keys, texts, strict=True) if key in swept},
        )
        for texts in itertools.product(*choices)
    ]


def _choices(key: str, override: str) -> list[str]:
    """The values that an override gives, as they were typed; the only one where it gives one."""
    text = override.partition("=")[2]
    parts = split_at_commas(text)
    if len(parts) == 1 or (PROSE.match(key) and not all(map(QUOTED.fullmatch, parts))):
        return [text]
    parts = [part.strip() for part in parts]
    if "" in parts or len({*parts}) < len(parts):
        what = "one of its values is empty" if "" in parts else "one of its values is given twice"
        raise RecipeError(
            f"{key}: {what}: {override}",
            where="command line",
            remedy=f"A comma makes one run for each value; for one value with commas write {key}='\"…\"'.",
        )
    return parts


def split_at_commas(text: str) -> list[str]:
    """The parts of an override's value between the commas that are outside quotes and brackets.

    Where a bracket is not closed there is one part, and YAML says what is wrong with it.
    """
    # A value may begin at the start too; what is quoted keeps its length.
    masked = OPENED_QUOTE.sub(lambda quoted: "_" * len(quoted[0]), f",{text}")[1:]
    depth, cuts = 0, [-1]
    for position, char in enumerate(masked):
        depth += (char in "[{") - (char in "]}")
        if char == "," and depth == 0:
            cuts.append(position)
    if depth:
        return [text]
    return [text[before + 1 : cut] for before, cut in itertools.pairwise([*cuts, len(text)])]

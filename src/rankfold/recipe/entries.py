"""A recipe before it is typed: values that remember where they were written, and what is wrong with them."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rankfold.errors import RecipeError

Scalar = bool | int | float | str | None
Location = tuple[str | int, ...]
"""The way from the top of a recipe to a value: keys of mappings, positions in lists."""


@dataclass(frozen=True)
class Place:
    """Where something was written: a line of a file, or an override on the command line.

    Args:
        file: The file as messages show it; empty for an override.
        line: The line, from 1; 0 where a whole file is meant. Position among the overrides for an override.
        override: The override as it was typed; empty for a file.
    """

    file: str
    line: int
    override: str = ""

    def __str__(self) -> str:
        if self.override:
            return "command line"
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def source(self) -> str:
        """Where a value came from, with the whole override."""
        return f"{self}: {self.override}" if self.override else str(self)


@dataclass(frozen=True)
class Entry:
    """A value of a recipe; a mapping's or list's parts are entries themselves."""

    place: Place
    value: "Scalar | list[Entry] | dict[str, Entry]"

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [entry.plain() for entry in self.value]
        return self.value

    def part(self, step: str | int) -> "Entry | None":
        """The entry under a key or at a position; None if there is none."""
        if isinstance(self.value, dict) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def nearest(self, location: Location) -> "Entry":
        """The entry at `location`, or the innermost one around it that was written."""
        entry = self
        for step in location:
            part = entry.part(step)
            if part is None:
                break
            entry = part
        return entry

    def holds(self, location: Location) -> bool:
        """Whether something was written at exactly this location."""
        entry: Entry | None = self
        for step in location:
            entry = entry and entry.part(step)
        return entry is not None

    def replaced(self, location: Location, change: "Callable[[Entry], Entry | None]") -> "Entry":
        """A copy in which `change` has replaced the entry at `location`, or removed it by giving None."""
        step, *rest = location
        part = self.part(step)
        if part is None or not isinstance(self.value, dict) or not isinstance(step, str):
            return self
        new = part.replaced(tuple(rest), change) if rest else change(part)
        others = {key: entry for key, entry in self.value.items() if key != step}
        return Entry(self.place, others if new is None else self.value | {step: new})


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a recipe, in one line."""

    place: Place
    location: Location
    message: str

    def __str__(self) -> str:
        key = dotted(self.location)
        return f"{self.place}: {key}: {self.message}" if key else f"{self.place}: {self.message}"


def dotted(location: Location) -> str:
    """Spell a location as users do: `data.labels[1]`; a key that is no plain word is quoted."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if re.fullmatch(r"[\w-]+", step) else shown(step)
            text += f".{name}" if text else name
    return text


def shown(value: Any, *, width: int = 60) -> str:
    """Show a value as JSON, cut to `width` characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def listed(words: Any, conjunction: str = "or") -> str:
    """Join words as a sentence does: `a, b or c`."""
    *first, last = [str(word) for word in words] or [""]
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def recipe_error(problems: Iterable[Problem]) -> RecipeError:
    """All problems as one error, by file and line, the command line last."""
    ordered = sorted(
        set(problems),
        key=lambda problem: (
            bool(problem.place.override),
            problem.place.file,
            problem.place.line,
            str(problem),
        ),
    )
    if len(ordered) == 1:
        return RecipeError(str(ordered[0]))
    lines = "".join(f"\n  {problem}" for problem in ordered)
    return RecipeError(f"the recipe has {len(ordered)} mistakes:{lines}")

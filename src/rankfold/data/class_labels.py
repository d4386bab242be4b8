"""Class labels of `datasets`: numbers in the rows, whose names only the data set's features know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClassNumber(int):
    """The number of a class, which as text is its name.

    So it is a label where text is wanted, and still a place or a score where a number is.
    """

    name: str

    def __new__(cls, number: int, name: str) -> ClassNumber:
        made = super().__new__(cls, number)
        made.name = name
        return made

    def __str__(self) -> str:
        return self.name


def with_class_names(value: Any, feature: Any) -> Any:
    """Give the numbers of classes in a value, or in the parts of a row, the names that their feature has.

    Data sets whose labels are not told, such as GLUE's test sets, have -1 for each: that is None here.
    """
    if value is None:
        return None
    if isinstance(feature, Mapping):
        return {name: with_class_names(part, feature.get(name)) for name, part in value.items()}
    if isinstance(value, list):
        inner = getattr(feature, "feature", None)
        return value if inner is None else [with_class_names(part, inner) for part in value]
    names = getattr(feature, "names", None)
    if names is None:
        return value
    return None if value < 0 else ClassNumber(value, names[value])

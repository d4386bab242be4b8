"""What reading a data set gives, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from rankfold.data.examples import Example

ExampleT_co = TypeVar("ExampleT_co", bound=Example, covariant=True)


@dataclass(frozen=True)
class ReadResult(Generic[ExampleT_co]):
    """The examples of a data set in file order, and what was done to get them.

    Attributes:
        examples: At least one.
        labels: The wanted labels, or those found, in order of first appearance; none for questions.
        dropped: What was left out: reason → count.
        repaired: What was put right on the way: what → count.
    """

    examples: tuple[ExampleT_co, ...]
    labels: tuple[str, ...]
    dropped: Mapping[str, int]
    repaired: Mapping[str, int]

"""Cutting a data set into ranges of examples, so that merging holds one range in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.nbest.units import Unit


@dataclass(frozen=True)
class ExampleRange:
    """Some neighbouring examples, and all of their rows (windows, or texts)."""

    examples: range
    rows: range

    def units(self, units: Sequence[Unit]) -> list[Unit]:
        """The work units, of all of an evaluation's in order, that hold at least one of the rows."""
        return [unit for unit in units if unit.start < self.rows.stop and unit.stop > self.rows.start]


def part_of_examples(num_examples: int, part: int, num_parts: int) -> range:
    """The examples of part `part` of `num_parts`: neighbours, and every example in one part."""
    if not 0 <= part < num_parts:
        raise ValueError(f"part {part} is not one of {num_parts}: 0 to {num_parts - 1}")
    return range(num_examples * part // num_parts, num_examples * (part + 1) // num_parts)


def example_ranges(
    example_of_row: npt.NDArray[np.integer[Any]], examples: range, *, max_rows: int
) -> Iterator[ExampleRange]:
    """Cut `examples` into ranges of at most `max_rows` rows; an example with more has its own.

    Args:
        example_of_row: (num_rows,), the example of each row of the data set, never descending.
        examples: The examples to cut.
        max_rows: At least 1.
    """
    row_starts = np.searchsorted(example_of_row, np.arange(examples.start, examples.stop + 1))
    first = 0
    while first < len(examples):
        fitting = int(np.searchsorted(row_starts, row_starts[first] + max_rows, side="right")) - 1
        stop = max(first + 1, min(fitting, len(examples)))
        yield ExampleRange(
            range(examples.start + first, examples.start + stop),
            range(int(row_starts[first]), int(row_starts[stop])),
        )
        first = stop

"""What is predicted at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rankfold.nbest.units import Unit

if TYPE_CHECKING:
    # Tasks are imported to merge too, where nothing needs what takes seconds to import.
    from datasets import Dataset


@dataclass(frozen=True)
class UnitWork:
    """A work unit that is to be predicted.

    Attributes:
        unit: Which rows of the evaluation features it is about.
        rows: These rows.
        shard: What messages call the shard that does it.
        advance: Is told the number of rows done after each batch.
    """

    unit: Unit
    rows: Sequence[Mapping[str, Any]]
    shard: str
    advance: Callable[[int], None]

    @classmethod
    def of(cls, features: Dataset, unit: Unit, *, shard: str, advance: Callable[[int], None]) -> UnitWork:
        """The work on a unit of a data set's evaluation features."""
        return cls(unit, features.select(range(unit.start, unit.stop)).to_list(), shard, advance)

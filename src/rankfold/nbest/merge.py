"""The union of window records: any sharding, any order, any tree, duplicates included, one result.

Answers are not in the state on purpose. Null scores, softmax and thresholds need all windows of an
example, so they are computed once, after the last merge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rankfold.errors import ShardError
from rankfold.nbest.records import WINDOW_RECORD, Records


@dataclass(frozen=True, eq=False)
class MergeState:
    """The windows seen so far: one record each, in the order of their ids, read-only. Build it with `of`."""

    records: Records

    def __post_init__(self) -> None:
        # Also gives kernels one type of array to be compiled for.
        self.records.flags.writeable = False

    @classmethod
    def of(cls, parts: Sequence[Records]) -> "MergeState":
        """The state of all `parts` together, in any order; identical records of a window become one.

        One part in the order of its ids is not copied, and parts that follow one another are copied once.

        Raises:
            ShardError: Two different records of one window.
        """
        parts = sorted((part for part in parts if len(part)), key=lambda part: int(part["window_id"][0]))
        everything = parts[0].view() if len(parts) == 1 else _joined(parts)
        if _ascends(everything["window_id"]):
            return cls(everything)
        everything = everything[np.argsort(everything["window_id"], kind="stable")]
        window_id = everything["window_id"]
        repeated = np.zeros(len(everything), dtype=np.bool_)
        repeated[1:] = window_id[1:] == window_id[:-1]
        _check_identical(everything, np.flatnonzero(repeated))
        return cls(everything[~repeated])

    def of_examples(self, examples: range) -> "MergeState":
        """The windows of the examples of a range; a view of these records where they stand together."""
        index = self.records["example_index"]
        inside = (index >= examples.start) & (index < examples.stop)
        first = int(np.argmax(inside)) if len(inside) else 0
        together = slice(first, first + np.count_nonzero(inside))
        return MergeState(self.records[together if inside[together].all() else inside])

    @property
    def window_ids(self) -> npt.NDArray[np.uint64]:
        """Ids of the windows seen, ascending."""
        return self.records["window_id"]


def merge(a: MergeState, b: MergeState) -> MergeState:
    """Union of two states; associative, commutative and idempotent.

    Raises:
        ShardError: The states hold different records of one window.
    """
    return MergeState.of([a.records, b.records])


def _joined(parts: Sequence[Records]) -> Records:
    # As bytes: numpy copies records field by field.
    joined = np.concatenate(
        [np.empty(0, np.uint8), *(np.ascontiguousarray(part).view(np.uint8) for part in parts)]
    )
    return joined.view(WINDOW_RECORD)


def _ascends(window_id: npt.NDArray[np.uint64]) -> bool:
    return bool((window_id[1:] > window_id[:-1]).all())


def _check_identical(records: Records, repeated: npt.NDArray[np.intp]) -> None:
    """Compare each repeated record, by its bytes, with the one before it."""
    content = records.view(np.uint8).reshape(len(records), WINDOW_RECORD.itemsize)
    differs = (content[repeated] != content[repeated - 1]).any(axis=1)
    conflicts = np.unique(records["window_id"][repeated[differs]])
    if len(conflicts):
        names = ", ".join(str(window_id) for window_id in conflicts[:10])
        more = f" and {len(conflicts) - 10} more" if len(conflicts) > 10 else ""
        raise ShardError(
            f"duplicate conflicting: different records of window {names}{more}",
            remedy="Evaluate into an empty shards folder: these records come from different models, "
            "data or batches.",
        )

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
    """The windows seen so far: one record each, in the order of their ids. Build it with `of`."""

    records: Records

    @classmethod
    def of(cls, parts: Sequence[Records]) -> "MergeState":
        """The state of all `parts` together, in any order; identical records of a window become one.

        Raises:
            ShardError: Two different records of one window.
        """
        everything: Records = np.concatenate([np.empty(0, WINDOW_RECORD), *parts])
        everything = everything[np.argsort(everything["window_id"], kind="stable")]
        window_id = everything["window_id"]
        repeated = np.zeros(len(everything), dtype=np.bool_)
        repeated[1:] = window_id[1:] == window_id[:-1]
        _check_identical(everything, np.flatnonzero(repeated))
        return cls(everything[~repeated])

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

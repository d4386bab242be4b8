"""What the evaluation must know of every window besides the model's logits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class WindowTable:
    """All windows of a data set in its order: ids ascend, and an example's windows stand together.

    A window's tokens are its real ones, without padding; the tokens of window `w` are the rows
    `row_starts[w]` to `row_starts[w + 1]` of `offsets` and of `max_context`.

    Attributes:
        window_id: (num_windows,), strictly ascending.
        example_index: (num_windows,), place of the example in the data set, never descending.
        offsets: (num_tokens, 2), characters of the context, start inclusive, end exclusive; -1, -1
            where the token is not context.
        row_starts: (num_windows + 1,), from 0 to num_tokens.
        cls_index: (num_windows,), position of the null in the window, as `extract_records` wants it.
        max_context: (num_tokens,), whether an answer may start at this token because no other window
            shows it with more context; None lets it start anywhere.

    Raises:
        ValueError: The arrays contradict each other.
    """

    window_id: npt.NDArray[np.int64]
    example_index: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int32]
    row_starts: npt.NDArray[np.int64]
    cls_index: npt.NDArray[np.int64]
    max_context: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        num_tokens = int(self.row_starts[-1])
        rows = {
            len(self.window_id),
            len(self.example_index),
            len(self.cls_index),
            len(self.row_starts) - 1,
        }
        tokens = {num_tokens, len(self.offsets)}
        if self.max_context is not None:
            tokens.add(len(self.max_context))
        if len(rows) > 1 or len(tokens) > 1:
            raise ValueError(f"lengths differ: windows {sorted(rows)}, tokens {sorted(tokens)}")
        if (np.diff(self.window_id) <= 0).any() or (np.diff(self.example_index) < 0).any():
            raise ValueError("windows must be in the data set's order, each id once")
        if ((self.cls_index < 0) | (self.cls_index >= self.lengths)).any():
            raise ValueError("cls_index must be a position in its window")

    def __len__(self) -> int:
        return len(self.window_id)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(num_windows,), real tokens of each window."""
        return np.diff(self.row_starts)

"""From the logits of a batch of windows to the records of their entities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.errors import NumericalError
from rankfold.nbest.entity_kernel import FIRST, FLAGS, LABEL, LAST, WINDOW, window_spans
from rankfold.nbest.entity_records import ENTITY_RECORD, EntityRecords, best_first, pack_flags

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TaggedWindows:
    """The tokens that carry tags in some windows of a data set.

    The tokens of window `w` are the entries `row_starts[w]` to `row_starts[w + 1]` of the ragged arrays.

    Attributes:
        window_ids: (num_windows,), number of each window in the data set's order.
        examples: (num_windows,), number of each window's example.
        continues: (num_windows,), whether text stands before the window.
        owned: (num_windows, 2), first and behind the last token that the window owns.
        row_starts: (num_windows + 1,), from 0 to num_tokens.
        positions: (num_tokens,), ragged: each token's position, counted from the window's first real token.
        char_starts: (num_tokens,), ragged: first character.
        char_ends: (num_tokens,), ragged: character behind the last.
    """

    window_ids: Integers
    examples: Integers
    continues: npt.NDArray[np.bool_]
    owned: Integers
    row_starts: Integers
    positions: Integers
    char_starts: Integers
    char_ends: Integers

    @property
    def window_of_token(self) -> Integers:
        """(num_tokens,), the row of each token's window."""
        return np.repeat(np.arange(len(self.window_ids)), np.diff(self.row_starts))


def extract_entities(
    logits: npt.NDArray[np.float32],
    windows: TaggedWindows,
    *,
    first_token: npt.NDArray[np.integer[Any]],
    n_best_size: int,
    max_answer_length: int,
    constrained: bool,
    shard: str,
) -> EntityRecords:
    """Return the entities that a batch of windows claims, by window, then in the order of `best_first`.

    Args:
        logits: (num_windows, max_length, num_tags), float32.
        windows: The windows, in the order of the rows of `logits`.
        first_token: (num_windows,), column of the first real token: 0 unless padded on the left.
        n_best_size: Candidates of a window.
        max_answer_length: Longest candidate, in tokens that carry tags.
        constrained: Whether the scheme BIO constrains the decoding.
        shard: Name of the shard, for errors.

    Raises:
        NumericalError: The logit of a token that carries a tag is NaN or infinite.
        ValueError: The number of tags is not that of O, and B- and I- for each label.
    """
    if logits.shape[2] % 2 == 0:
        raise ValueError(
            f"logits of {logits.shape[2]} tags: O, and B- and I- for each label, are an odd number"
        )
    rows = windows.window_of_token
    tagged = logits[rows, first_token[rows] + windows.positions]
    _check_finite(tagged, windows, shard)
    spans, scores = window_spans(
        tagged,
        windows.row_starts,
        windows.owned,
        windows.continues,
        n_best_size,
        max_answer_length,
        constrained,
    )
    return best_first(_records(spans, scores, windows, n_best_size), "window_id")


def _records(
    spans: Integers, scores: npt.NDArray[np.float32], windows: TaggedWindows, n_best_size: int
) -> EntityRecords:
    row_starts = windows.row_starts[spans[:, WINDOW]]
    records: EntityRecords = np.zeros(len(spans), dtype=ENTITY_RECORD)
    records["window_id"] = windows.window_ids[spans[:, WINDOW]]
    records["example_index"] = windows.examples[spans[:, WINDOW]]
    records["start_char"] = windows.char_starts[row_starts + spans[:, FIRST]]
    records["end_char"] = windows.char_ends[row_starts + spans[:, LAST]]
    records["score"] = scores
    records["label"] = spans[:, LABEL]
    records["flags"] = pack_flags(spans[:, FLAGS], n_best_size)
    return records


def _check_finite(tagged: npt.NDArray[np.float32], windows: TaggedWindows, shard: str) -> None:
    broken = ~np.isfinite(tagged)
    if not broken.any():
        return
    token, tag = (int(found[0]) for found in np.nonzero(broken))
    window = windows.window_of_token[token]
    raise NumericalError(
        f"the logit of tag {tag} of token {windows.positions[token]} in window {windows.window_ids[window]} "
        f"is {tagged[token, tag]}, not a finite number",
        where=shard,
        remedy="Look at the training loss: the model may have diverged. If it trained well, "
        "evaluate it with model.torch_dtype: float32.",
    )

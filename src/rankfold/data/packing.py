"""Several short training examples in one row, so that hardly any of it is padding."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.features import Features

COLUMNS = frozenset({"input_ids", "labels"})


def pack(features: Features, max_length: int) -> Features:
    """Put examples of a causal language model together into rows of at most `max_length` tokens.

    Positions start again with each example, which is what parts their attention, and the first token of
    each is predicted by none: nothing is learned across a border. The same examples in the same order give
    the same rows.

    Raises:
        ValueError: There are other columns than input_ids and labels, or an example is longer than a row.
    """
    if features.columns.keys() != COLUMNS:
        raise ValueError(f"rows with columns {sorted(features.columns)} cannot be packed")
    input_ids, labels = features.columns["input_ids"], features.columns["labels"]
    rows = best_fit([len(ids) for ids in input_ids], max_length)
    return replace(
        features,
        columns={
            "input_ids": [_joined(input_ids, row) for row in rows],
            "labels": [_joined([[IGNORED_LABEL, *labels[one][1:]] for one in row]) for row in rows],
            "position_ids": [_joined([range(len(input_ids[one])) for one in row]) for row in rows],
        },
    )


def best_fit(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Divide examples into rows of `size` tokens: each, the longest first, into the row it fills best.

    Best fit decreasing needs at most 11/9 of the fewest rows possible, and one more (Johnson, 1973).

    Args:
        lengths: Of the examples, in tokens.
        size: Of a row.

    Returns:
        Places of the examples in each row, rising; rows in the order of their first examples.

    Raises:
        ValueError: An example is longer than a row.
    """
    if lengths and max(lengths) > size:
        raise ValueError(f"an example of {max(lengths)} tokens is longer than a row of {size}")
    rows: list[list[int]] = []
    # Rows by the room they have, and a bit for each room that some row has: the smallest that is large
    # enough is found in a step, however many rows there are.
    with_room: list[list[int]] = [[] for _ in range(size + 1)]
    rooms = 0
    for example in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        length = lengths[example]
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            room, row = size, len(rows)
            rows.append([])
        rows[row].append(example)
        with_room[room - length].append(row)
        rooms |= 1 << (room - length)
    return sorted(sorted(row) for row in rows)


def _joined(parts: Sequence[Sequence[Any]], chosen: Sequence[int] | None = None) -> list[Any]:
    return [value for one in (range(len(parts)) if chosen is None else chosen) for value in parts[one]]

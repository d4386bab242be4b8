"""Tokenised features: as a task makes them, and on disk, read without the library that wrote them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Features:
    """Tokenised rows by column, and what was lost on the way.

    Attributes:
        columns: Column name → one value a row; `input_ids` is always among them.
        num_truncated: Examples that lost tokens to max_length.
        dropped: Reason → examples that gave no row at all, or entities that no row shows.
        repaired: Reason → examples or entities that are not learned quite as they are.
    """

    columns: dict[str, list[Any]]
    num_truncated: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    repaired: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        return sum(len(ids) for ids in self.columns["input_ids"])

    def __len__(self) -> int:
        return len(self.columns["input_ids"])


def read_features(folder: Path) -> pa.Table:
    """Map a data set that `Dataset.save_to_disk` wrote into memory; pages are read when touched.

    Importing `datasets` takes longer than most merges.
    """
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    tables = [
        pa.ipc.open_stream(pa.memory_map(str(folder / file["filename"]))).read_all()
        for file in state["_data_files"]
    ]
    return pa.concat_tables(tables)

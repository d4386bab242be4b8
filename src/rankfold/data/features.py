"""The tokenised features on disk, read without the library that wrote them."""

import json
from pathlib import Path

import pyarrow as pa


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

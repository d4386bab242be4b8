"""Tokenised features on disk, written a piece at a time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from rankfold.data.features import Features


def write_features(folder: Path, pieces: Iterable[Features]) -> int:
    """Write features as the data set that `Dataset.load_from_disk` maps; return how many rows there are.

    No more than a piece is in memory. Columns have the types of the first piece with rows. Lists that are
    empty there are taken for integers, as ids, labels and positions are, and values that are missing there
    for numbers. Without any row nothing is written.

    Raises:
        pyarrow.ArrowInvalid: A piece has other types than the first.
    """
    from datasets import Dataset

    stream = folder.with_name(f"{folder.name}.stream")
    number = 0
    writer: pa.RecordBatchStreamWriter | None = None
    with ExitStack() as stack:
        stack.callback(stream.unlink, missing_ok=True)
        for features in pieces:
            if not len(features):
                continue
            if writer is None:
                table = _typed(pa.table(features.columns))
                writer = pa.ipc.new_stream(str(stream), table.schema)
                stack.callback(writer.close)
            else:
                table = pa.table(features.columns, schema=table.schema)
            writer.write_table(table)
            number += len(features)
        if writer is not None:
            writer.close()
            Dataset.from_file(str(stream)).save_to_disk(folder)
    return number


def _typed(table: pa.Table) -> pa.Table:
    types = [_without_null(field.type, pa.float64()) for field in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))


def _without_null(kind: pa.DataType, instead: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_without_null(kind.value_type, pa.int64()))
    return instead if pa.types.is_null(kind) else kind

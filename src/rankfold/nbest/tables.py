"""Records of a work unit as an Arrow table, a row for each row of the features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute


def table_to_bytes(columns: Mapping[str, Sequence[Any]], schema: pa.Schema, *, first_row: int) -> bytes:
    """Write the records of consecutive rows, the first of which is `first_row` of the whole data set."""
    numbers = pa.array(range(first_row, first_row + len(next(iter(columns.values())))), pa.uint32())
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    table = pa.Table.from_arrays([numbers, *arrays], ["row", *schema.names])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def tables_from_bytes(payloads: Iterable[bytes], rows: range) -> pa.Table:
    """Read payloads back, in order and without the rows outside of `rows`; column `row` is among them."""
    tables = [pa.ipc.open_file(pa.BufferReader(payload)).read_all() for payload in payloads]
    joined = pa.concat_tables(tables)
    numbers = joined.column("row")
    keep = pa.compute.and_(pa.compute.greater_equal(numbers, rows.start), pa.compute.less(numbers, rows.stop))
    return joined.filter(keep).sort_by("row")

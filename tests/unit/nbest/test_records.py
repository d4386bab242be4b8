import subprocess
import sys

import numpy as np
import pytest

from rankfold.errors import ShardError
from rankfold.nbest.records import (
    WINDOW_RECORD,
    num_ends,
    num_starts,
    pack_flags,
    records_from_bytes,
    records_to_bytes,
)


def test_a_window_takes_264_bytes() -> None:
    assert WINDOW_RECORD.itemsize == 264
    assert len(records_to_bytes(np.zeros(3, WINDOW_RECORD))) == 3 * 264


def test_flags_hold_the_number_of_starts_and_of_ends() -> None:
    records = np.zeros(2, WINDOW_RECORD)
    records["flags"] = pack_flags(np.array([20, 3]), np.array([1, 0]))
    assert num_starts(records).tolist() == [20, 3]
    assert num_ends(records).tolist() == [1, 0]


def test_records_come_back_from_bytes_as_they_were() -> None:
    records = np.frombuffer(np.random.default_rng(7).bytes(5 * 264), dtype=WINDOW_RECORD)
    assert records_from_bytes(records_to_bytes(records), where="").tobytes() == records.tobytes()


def test_bytes_are_little_endian_whatever_the_array_was() -> None:
    records = np.zeros(1, WINDOW_RECORD.newbyteorder(">"))
    records["window_id"] = 1
    assert records_to_bytes(records)[:8] == b"\x01" + b"\x00" * 7


def test_a_payload_that_is_cut_inside_a_record_is_an_error_that_names_its_unit() -> None:
    with pytest.raises(ShardError) as caught:
        records_from_bytes(bytes(265), where="unit 3")
    assert str(caught.value).startswith("unit 3: 265 bytes are not a whole number of 264-byte records")


def test_reading_records_does_not_load_the_compiler_of_kernels() -> None:
    command = "import sys, rankfold.nbest.records; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True)

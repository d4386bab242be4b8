import numpy as np
import pytest

from rankfold.errors import ShardError
from rankfold.nbest.entity_records import (
    CANDIDATE,
    ENTITY_RECORD,
    PREDICTED,
    EntityRecords,
    best_first,
    check_n_best_size,
    entity_records_from_bytes,
    entity_records_to_bytes,
    pack_flags,
)


def records(*rows: tuple[float, int, int, int]) -> EntityRecords:
    """Score, start, end, label."""
    made = np.zeros(len(rows), ENTITY_RECORD)
    for name, values in zip(
        ("score", "start_char", "end_char", "label"), zip(*rows, strict=True), strict=True
    ):
        made[name] = values
    return made


def test_a_span_takes_28_bytes() -> None:
    assert ENTITY_RECORD.itemsize == 28
    assert len(entity_records_to_bytes(np.zeros(3, ENTITY_RECORD))) == 3 * 28


def test_records_come_back_from_bytes_as_they_were_and_one_payload_after_another() -> None:
    made = np.frombuffer(np.random.default_rng(7).bytes(5 * 28), dtype=ENTITY_RECORD)
    payloads = [entity_records_to_bytes(part) for part in (made[:2], made[2:2], made[2:])]
    assert entity_records_from_bytes(payloads).tobytes() == made.tobytes()
    assert len(entity_records_from_bytes([])) == 0


def test_a_payload_that_was_cut_is_refused() -> None:
    with pytest.raises(ShardError, match="27 bytes are not a whole number of 28-byte records") as caught:
        entity_records_from_bytes([b"", bytes(27)])
    assert caught.value.where == "payload 1"


def test_the_best_come_first_then_start_end_and_label_decide() -> None:
    ranked = [(-0.5, 9, 10, 0), (-1, 2, 3, 1), (-1, 2, 4, 0), (-1, 2, 4, 1), (-1, 3, 4, 0), (-2, 0, 9, 0)]
    expected = records(*ranked)
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(expected)
        assert best_first(shuffled, "example_index").tobytes() == expected.tobytes()


def test_fewer_candidates_may_be_asked_for_than_were_kept_but_not_more() -> None:
    made = records((-1, 0, 1, 0), (-2, 0, 2, 0))
    made["flags"] = pack_flags(np.array([CANDIDATE, PREDICTED]), 5)
    assert (made["flags"] & PREDICTED).tolist() == [0, 1]
    check_n_best_size(made, 5)
    check_n_best_size(made, 1)
    check_n_best_size(made[:0], 20)
    with pytest.raises(
        ShardError, match="n_best_size is 6, but the records keep 5 spans of a window"
    ) as caught:
        check_n_best_size(made, 6)
    assert "Set evaluation.n_best_size to 5" in caught.value.remedy

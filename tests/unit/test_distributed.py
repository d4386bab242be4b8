from pathlib import Path

from ranks import on_ranks

from rankfold.distributed import all_gather_bytes
from rankfold.ranks import ranks

PARTS = [[b"", b"\x00\xff", b"long" * 1000], [b"one"], []]


def gather() -> None:
    """Runs on every rank; what fails there fails the test."""
    assert all_gather_bytes(PARTS[ranks().rank]) == PARTS
    assert all_gather_bytes([]) == [[], [], []]


def test_every_rank_gets_the_parts_of_all_by_rank_whatever_their_number_and_sizes(tmp_path: Path) -> None:
    on_ranks(3, gather, tmp_path)


def test_a_process_that_is_alone_gets_its_own_parts() -> None:
    assert all_gather_bytes(PARTS[0]) == [PARTS[0]]

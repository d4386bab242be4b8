from contextlib import suppress
from pathlib import Path

import pytest
import torch
from ranks import on_ranks
from torch.distributed import distributed_c10d

from rankfold import distributed
from rankfold.distributed import agree, all_gather_bytes
from rankfold.ranks import ranks

PARTS = [[b"", b"\x00\xff", b"long" * 1000], [b"one"], []]


def gather() -> None:
    """Runs on every rank; what fails there fails the test."""
    assert all_gather_bytes(PARTS[ranks().rank]) == PARTS
    assert all_gather_bytes([]) == [[], [], []]


@pytest.mark.parametrize(
    ("backend", "place"), [("cpu:gloo,cuda:nccl", "cpu"), ("gloo", "cpu"), ("nccl", "meta")]
)
def test_ranks_meet_on_the_cpu_where_their_group_can(
    backend: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[str] = []
    config = repr(distributed_c10d.BackendConfig(distributed_c10d.Backend(backend)))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_backend_config", lambda: config)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor, _: met.append(tensor.device.type))
    monkeypatch.setattr(torch.distributed, "all_gather", lambda _, tensor: met.append(tensor.device.type))
    # Any device that this machine has not for a CPU.
    monkeypatch.setattr(distributed, "device", lambda: torch.device("meta"))
    with suppress(RuntimeError, NotImplementedError):  # nothing can be read on that device
        agree([True])
    with suppress(RuntimeError, NotImplementedError):
        all_gather_bytes([b"one"])
    assert set(met) == {place}


def test_every_rank_gets_the_parts_of_all_by_rank_whatever_their_number_and_sizes(tmp_path: Path) -> None:
    on_ranks(3, gather, tmp_path)


def test_a_process_that_is_alone_gets_its_own_parts() -> None:
    assert all_gather_bytes(PARTS[0]) == [PARTS[0]]

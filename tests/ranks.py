"""Several ranks on this machine that talk through gloo, for tests of what they have to agree on."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def on_ranks(world_size: int, target: Callable[..., None], folder: Path, *arguments: Any) -> None:
    """Call `target(*arguments)` on each rank of a process group, in new processes; all must end well."""
    assert exit_codes(world_size, target, folder, *arguments) == [0] * world_size


def exit_codes(
    world_size: int, target: Callable[..., None], folder: Path, *arguments: Any
) -> list[int | None]:
    """Call `target(*arguments)` on each rank, and return how each process ended."""
    # Forking a process whose threads compute can hang the child.
    context = multiprocessing.get_context("spawn")
    ranks = [
        context.Process(target=_rank, args=(rank, world_size, folder / "rendezvous", target, arguments))
        for rank in range(world_size)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return [process.exitcode for process in ranks]


def _rank(
    rank: int, world_size: int, rendezvous: Path, target: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size}
    # Accelerate wants to know an address, though the group is there before it.
    os.environ |= {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "localhost"}
    import torch

    torch.set_num_threads(1)
    # A file needs no free port.
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world_size
    )
    try:
        target(*arguments)
    finally:
        torch.distributed.destroy_process_group()

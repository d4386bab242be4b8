"""This process's place among the ranks of a job."""

import os
from dataclasses import dataclass

import torch.distributed


@dataclass(frozen=True)
class Ranks:
    """Rank of this process, and how many there are."""

    rank: int
    world_size: int

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def ranks() -> Ranks:
    """Read RANK and WORLD_SIZE, which the job sets; a process without them is alone."""
    return Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def barrier() -> None:
    """Wait for every rank, where there are several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def device() -> torch.device:
    """The GPU of this rank, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")

"""This process's place among the ranks of its job, as the environment says; needs no torch."""

import os
from dataclasses import dataclass

LISTEN_FD = "RANKFOLD_LISTEN_FD"
"""Descriptor of the socket on which rank 0 listens at MASTER_ADDR and MASTER_PORT already."""


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

"""This process's place among the ranks of a job."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.distributed
from torch import Tensor


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
    if _in_group():
        torch.distributed.barrier()


def all_gather_bytes(parts: Sequence[bytes]) -> list[list[bytes]]:
    """Return the parts of every rank, by rank; every rank calls this, with as many parts as it has.

    Bytes travel as they are: nothing is pickled, so nothing is unpickled.
    """
    if not _in_group():
        return [list(parts)]
    lengths = _all_gather(torch.tensor([len(part) for part in parts], dtype=torch.int64))
    contents = _all_gather(torch.from_numpy(np.frombuffer(b"".join(parts), dtype=np.uint8).copy()))
    return [
        # The function, since the method has no types.
        [piece.numpy().tobytes() for piece in torch.split(content, length.tolist())]
        for content, length in zip(contents, lengths, strict=True)
    ]


def _all_gather(mine: Tensor) -> list[Tensor]:
    """Every rank's vector, by rank, on the CPU; their lengths may differ."""
    world_size, place = torch.distributed.get_world_size(), device()
    sizes = [torch.zeros(1, dtype=torch.int64, device=place) for _ in range(world_size)]
    torch.distributed.all_gather(sizes, torch.tensor([len(mine)], device=place))
    # The collective wants equal sizes.
    longest = max(int(size) for size in sizes)
    padded = torch.zeros(longest, dtype=mine.dtype, device=place)
    padded[: len(mine)] = mine.to(place)
    gathered = [torch.empty_like(padded) for _ in range(world_size)]
    torch.distributed.all_gather(gathered, padded)
    return [vector[: int(size)].cpu() for vector, size in zip(gathered, sizes, strict=True)]


def _in_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def device() -> torch.device:
    """The GPU of this rank, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")

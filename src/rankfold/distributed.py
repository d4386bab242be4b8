"""What the ranks of a job do together."""

import os
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import torch.distributed
from torch import Tensor

from rankfold.ranks import LISTEN_FD, ranks


def join(timeout: timedelta) -> None:
    """Form the process group of all ranks; a process that is alone needs none.

    torch's own rendezvous binds MASTER_PORT itself, which another job may have taken by then; here rank 0
    serves on the socket that `LISTEN_FD` names, open since the port was published.

    Args:
        timeout: Longest time a collective, and the wait for all ranks, may take.

    Raises:
        torch.distributed.DistError: A rank did not come or cannot be reached.
    """
    here = ranks()
    if here.world_size == 1 or _in_group():
        return
    listening = os.environ.pop(LISTEN_FD, None)
    store = torch.distributed.TCPStore(  # type: ignore[attr-defined]  # its types are not complete
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        here.world_size,
        is_master=here.is_main,
        timeout=timeout,
        wait_for_workers=False,
        master_listen_fd=None if listening is None else int(listening),
    )
    torch.distributed.init_process_group(
        # Agreeing on the CPU leaves a GPU to its work.
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=store,
        rank=here.rank,
        world_size=here.world_size,
        timeout=timeout,
    )


def leave() -> None:
    """Take this rank out of the group again, before the process ends."""
    if _in_group():
        torch.distributed.destroy_process_group()


def barrier() -> None:
    """Wait for every rank, where there are several."""
    if _in_group():
        torch.distributed.barrier()


def agree(flags: Sequence[bool]) -> tuple[bool, ...]:
    """Whether any rank says so, of each flag; every rank calls this, with as many.

    On the CPU where the group can: waiting for a GPU would hold up the steps that lie in its queue.
    """
    if not _in_group():
        return tuple(flags)
    said = torch.tensor(list(flags), dtype=torch.int32, device=_meeting_place())
    torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX)
    return tuple(map(bool, said.tolist()))


def total(counts: Sequence[int]) -> tuple[int, ...]:
    """The sums of what all ranks counted; every rank calls this, with as many counts."""
    if not _in_group():
        return tuple(counts)
    sums = torch.tensor(list(counts), dtype=torch.int64, device=_meeting_place())
    torch.distributed.all_reduce(sums)
    return tuple(sums.tolist())


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
    world_size, place = torch.distributed.get_world_size(), _meeting_place()
    sizes = [torch.zeros(1, dtype=torch.int64, device=place) for _ in range(world_size)]
    torch.distributed.all_gather(sizes, torch.tensor([len(mine)], device=place))
    # The collective wants equal sizes.
    longest = max(int(size) for size in sizes)
    padded = torch.zeros(longest, dtype=mine.dtype, device=place)
    padded[: len(mine)] = mine.to(place)
    gathered = [torch.empty_like(padded) for _ in range(world_size)]
    torch.distributed.all_gather(gathered, padded)
    return [vector[: int(size)].cpu() for vector, size in zip(gathered, sizes, strict=True)]


def _meeting_place() -> torch.device:
    """The CPU where the group can: a GPU has its own work and memory for it alone."""
    on_cpu = "cpu:" in torch.distributed.get_backend_config()
    return torch.device("cpu") if on_cpu else device()


def _in_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def device() -> torch.device:
    """The GPU of this rank, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")

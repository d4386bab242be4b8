"""Where the ranks of a job meet: rank 0 chooses a port inside the job and publishes it."""

from __future__ import annotations

import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from launch.states import read_json
from rankfold import atomic
from rankfold.errors import OperationalError

WAIT_S = 300.0
"""Nodes of one job may start minutes apart where a prolog or a container has to be prepared."""
POLL_S = 0.2


@dataclass(frozen=True)
class Meeting:
    """Host and port that torch.distributed calls MASTER_ADDR and MASTER_PORT."""

    host: str
    port: int


def publish(file: Path, *, single_node: bool) -> Meeting:
    """Choose a free port on this host and write the meeting for the other ranks.

    A fixed port collides on shared nodes, and one made of the job id falls in the ephemeral range.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("", 0))
        port = listener.getsockname()[1]
    meeting = Meeting("127.0.0.1" if single_node else socket.gethostname(), port)
    atomic.write_json(file, asdict(meeting))
    return meeting


def wait_for(file: Path, rank: int, *, wait_s: float = WAIT_S) -> Meeting:
    """Wait until rank 0 has published the meeting.

    Raises:
        OperationalError: It did not within `wait_s` seconds; names this host and the file.
    """
    deadline = time.monotonic() + wait_s
    while (value := read_json(file)) is None:
        if time.monotonic() > deadline:
            raise OperationalError(
                f"rank {rank} on {socket.gethostname()} waited {wait_s:g} s for rank 0 to publish {file}",
                remedy="Look at rank 0's log, and whether this node sees the same run folder.",
            )
        time.sleep(POLL_S)
    return Meeting(**value)

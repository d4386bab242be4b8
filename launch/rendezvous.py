"""Where the ranks of an attempt meet: rank 0 listens on a free port inside the job and publishes it."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from launch.states import read_json
from rankfold import atomic
from rankfold.errors import OperationalError

WAIT_S = 300.0
"""Nodes of one job may start minutes apart where a prolog or a container has to be prepared."""
POLL_S = 0.2
CONNECT_TIMEOUT_S = 5.0
LOOPBACK = "127.0.0.1"
GREETING, ANSWER = b"rank", b"welcome"
"""What a rank says to rank 0, with its number, and hears, so that neither takes a stranger for the other."""


@dataclass(frozen=True)
class Meeting:
    """Host and port that torch.distributed calls MASTER_ADDR and MASTER_PORT.

    Attributes:
        addresses: Other ways to reach the host, where its name does not resolve everywhere.
    """

    host: str
    port: int
    addresses: tuple[str, ...] = ()


def open_meeting(file: Path, *, single_node: bool) -> tuple[Meeting, socket.socket]:
    """Listen on a free port of this host and write the meeting for the other ranks.

    A fixed port collides on shared nodes, and one made of the job id falls in the ephemeral range. The socket
    that is published is the one that torch will serve on, so that nobody can take the port in between.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((LOOPBACK if single_node else "", 0))
    listener.listen(socket.SOMAXCONN)
    port = listener.getsockname()[1]
    if single_node:
        meeting = Meeting(LOOPBACK, port)
    else:
        meeting = Meeting(socket.gethostname(), port, _own_addresses())
    atomic.write_json(file, asdict(meeting))
    return meeting, listener


def find_meeting(file: Path, *, rank: int, first_host: str, wait_s: float = WAIT_S) -> Meeting:
    """Wait until rank 0 has published the meeting and can be reached, and say where.

    Raises:
        OperationalError: Either took longer than `wait_s` seconds; names both hosts.
    """
    deadline = time.monotonic() + wait_s
    here = socket.gethostname()
    while (value := read_json(file)) is None:
        if time.monotonic() > deadline:
            raise OperationalError(
                f"rank {rank} on {here} waited {wait_s:g} s for rank 0 on {first_host} to publish {file}",
                remedy=f"Look at rank 0's log: {first_host} has not started it, or {here} does not see the "
                "same run folder.",
            )
        time.sleep(POLL_S)
    meeting = Meeting(value["host"], value["port"], tuple(value["addresses"]))
    while True:
        reasons = {}
        for address in (meeting.host, *meeting.addresses):
            reason = _why_unreachable(address, meeting.port, rank)
            if reason is None:
                return replace(meeting, host=address)
            reasons[address] = reason
        if time.monotonic() > deadline:
            tried = ", ".join(f"{address} ({reason})" for address, reason in reasons.items())
            raise OperationalError(
                f"rank {rank} on {here} cannot reach rank 0 on {meeting.host}, port {meeting.port}: {tried}",
                remedy=f"`launch doctor` tests the network between nodes; `exclude: {here}` or "
                f"`exclude: {first_host}` in the profile's sbatch_options leaves a bad one out.",
            )
        time.sleep(POLL_S)


def wait_for_ranks(
    listener: socket.socket, *, world_size: int, hosts: Sequence[str], wait_s: float = WAIT_S
) -> None:
    """Wait until every other rank has found the meeting, and tell each so.

    Rank 0 may then end as early as it likes: nobody looks for it any more.

    Args:
        listener: The socket of `open_meeting`.
        hosts: The job's nodes in Slurm's order; ranks fill one after the other.

    Raises:
        OperationalError: Some did not within `wait_s` seconds; names them and their nodes.
    """
    deadline = time.monotonic() + wait_s
    arrived = {0}
    while missing := sorted(set(range(world_size)) - arrived):
        listener.settimeout(max(POLL_S, deadline - time.monotonic()))
        try:
            connection, _ = listener.accept()
            with connection:
                arrived |= _greeted(connection)
        except TimeoutError:
            if time.monotonic() > deadline:
                raise _missing(missing, world_size, hosts, wait_s) from None
    listener.settimeout(None)


def _greeted(connection: socket.socket) -> set[int]:
    """The rank that speaks, once it was answered; nobody where it is not a rank of ours."""
    connection.settimeout(CONNECT_TIMEOUT_S)
    try:
        words = connection.recv(64).split()
        if len(words) != 2 or words[0] != GREETING or not words[1].isdigit():
            return set()
        connection.sendall(ANSWER)
    except OSError:
        # It went away or says nothing; a rank tries again.
        return set()
    return {int(words[1])}


def _missing(
    missing: Sequence[int], world_size: int, hosts: Sequence[str], wait_s: float
) -> OperationalError:
    per_host = max(1, world_size // len(hosts))
    bad = sorted({hosts[min(rank // per_host, len(hosts) - 1)] for rank in missing})
    return OperationalError(
        f"{_ranks(missing)} on {', '.join(bad)} did not come within {wait_s:g} s",
        remedy="Their logs and the job's output say why, or the node does not see the run folder: `launch "
        f"doctor` tests both. `exclude: {','.join(bad)}` in the profile's sbatch_options leaves it out.",
    )


def _ranks(numbers: Sequence[int]) -> str:
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _why_unreachable(address: str, port: int, rank: int) -> str | None:
    try:
        with socket.create_connection((address, port), timeout=CONNECT_TIMEOUT_S) as connection:
            connection.sendall(GREETING + b" %d" % rank)
            return None if connection.recv(len(ANSWER)) == ANSWER else "it answers something else"
    except socket.gaierror:
        return "the name does not resolve"
    except TimeoutError:
        return f"no answer in {CONNECT_TIMEOUT_S:g} s"
    except OSError as error:
        return error.strerror or str(error)


def _own_addresses() -> tuple[str, ...]:
    """This host's IPv4 addresses, the one that routes outwards first; loopback is another host elsewhere."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: connecting a datagram socket only chooses the route.
            probe.connect(("192.0.2.1", 9))
            found.append(probe.getsockname()[0])
        except OSError:
            # No route outwards; the name has to do.
            found.clear()
    try:
        found += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    except socket.gaierror:
        return tuple(found)
    return tuple(dict.fromkeys(address for address in found if not address.startswith("127.")))

"""Where ranks meet: who is missing is named, and nobody waits for ever."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from launch.rendezvous import Meeting, find_meeting, open_meeting, wait_for_ranks
from launch.states import read_json
from rankfold import atomic
from rankfold.errors import OperationalError


@contextmanager
def waiting(listener: socket.socket, world_size: int = 2) -> Iterator[None]:
    """Have rank 0 wait for the others in a thread, until all have come."""
    with listener, ThreadPoolExecutor(1) as thread:
        waits = thread.submit(wait_for_ranks, listener, world_size=world_size, hosts=["here"], wait_s=30)
        yield
        waits.result()


def test_what_is_published_can_be_reached_at_once(tmp_path: Path) -> None:
    file = tmp_path / "rendezvous.json"
    meeting, listener = open_meeting(file, single_node=True)
    with waiting(listener):
        assert find_meeting(file, rank=1, first_host="here", wait_s=0) == meeting
    assert meeting.host == "127.0.0.1"


def test_rank_zero_stays_until_the_last_has_come_and_takes_no_stranger_for_a_rank(tmp_path: Path) -> None:
    file = tmp_path / "rendezvous.json"
    meeting, listener = open_meeting(file, single_node=True)
    with waiting(listener, world_size=3):
        for noise in (b"", b"GET / HTTP/1.1", b"rank two"):
            with socket.create_connection((meeting.host, meeting.port)) as stranger:
                stranger.sendall(noise)
        for rank in (2, 1):
            find_meeting(file, rank=rank, first_host="here", wait_s=10)


def test_several_nodes_never_meet_at_a_loopback_address(tmp_path: Path) -> None:
    meeting, listener = open_meeting(tmp_path / "rendezvous.json", single_node=False)
    with listener:
        assert meeting.host == socket.gethostname()
        assert not [address for address in meeting.addresses if address.startswith("127.")]


def test_a_host_whose_name_does_not_resolve_is_reached_by_its_address(tmp_path: Path) -> None:
    file = tmp_path / "rendezvous.json"
    meeting, listener = open_meeting(file, single_node=True)
    with waiting(listener):
        published = {"host": "no-such-host.invalid", "port": meeting.port, "addresses": ["127.0.0.1"]}
        atomic.write_json(file, published)
        found = find_meeting(file, rank=1, first_host="here", wait_s=0)
    assert (found.host, found.port) == ("127.0.0.1", meeting.port)


def test_a_rank_zero_that_publishes_nothing_is_named_with_its_node(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match=r"rank 3 on .* waited 0 s for rank 0 on node7 to publish"):
        find_meeting(tmp_path / "rendezvous.json", rank=3, first_host="node7", wait_s=0)


@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1", r"127\.0\.0\.1 \(Connection refused\)"), ("no-such-host.invalid", "does not resolve")],
)
def test_a_rank_zero_that_cannot_be_reached_is_named_with_the_reason(
    host: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "rendezvous.json"
    meeting, listener = open_meeting(file, single_node=True)
    listener.close()
    atomic.write_json(file, {"host": host, "port": meeting.port, "addresses": []})
    with pytest.raises(OperationalError, match=rf"rank 1 on .* cannot reach rank 0 on .*{reason}"):
        find_meeting(file, rank=1, first_host=host, wait_s=0)


def test_the_ranks_that_did_not_come_are_named_with_their_nodes(tmp_path: Path) -> None:
    _, listener = open_meeting(tmp_path / "rendezvous.json", single_node=True)
    with (
        listener,
        pytest.raises(OperationalError, match="ranks 1, 2, 3 on node1, node2 did not come within 0 s"),
    ):
        wait_for_ranks(listener, world_size=4, hosts=["node1", "node2"], wait_s=0)


JOIN = """
import os, sys
from datetime import timedelta
from pathlib import Path
from launch.rendezvous import find_meeting, open_meeting, wait_for_ranks
from rankfold.distributed import all_gather_bytes, join, leave
from rankfold.ranks import LISTEN_FD
file, rank = Path(sys.argv[1]), int(sys.argv[2])
if rank == 0:
    meeting, listener = open_meeting(file, single_node=True)
    wait_for_ranks(listener, world_size=2, hosts=["here"])
    os.environ[LISTEN_FD] = str(listener.detach())
else:
    meeting = find_meeting(file, rank=rank, first_host="here")
os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
os.environ |= {"MASTER_ADDR": meeting.host, "MASTER_PORT": str(meeting.port)}
join(timedelta(seconds=60))
assert all_gather_bytes([b"%d" % rank]) == [[b"0"], [b"1"]]
leave()
"""


def test_torch_serves_on_the_very_socket_that_was_published(tmp_path: Path) -> None:
    file = tmp_path / "rendezvous.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", JOIN, str(file)]
    ranks = [
        subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    told = [process.communicate()[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], told
    value = read_json(file)
    assert Meeting(value["host"], value["port"]).port > 0

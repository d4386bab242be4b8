"""What one node sees: run by `launch doctor` as one task on each node of a small job; standard library only.

    python -m launch.doctor.probe FOLDER SECONDS

Nodes find each other through FOLDER, as the ranks of a run do, and each writes `NODE.report.json` there; the
same report goes to standard output, for a node that cannot write there.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPORT_PREFIX = "launch doctor: "
GREETING = "greeting.txt"
NOBODY_ELSE = "nobody-else"
"""A file that appears once it is known that some node will not come."""
CONNECT_TIMEOUT_S = 5.0
POLL_S = 0.1
NEEDED = ("rankfold", "launch", "submitit", "torch", "transformers")


def main(folder: Path, seconds: float) -> None:
    """Look, meet the other nodes for at most `seconds`, and report."""
    node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    report = {"node": node, **_see()}
    try:
        report["greeting"] = (folder / GREETING).read_text(encoding="utf-8")
        with socket.create_server(("", 0)) as listener:
            threading.Thread(target=_answer, args=(listener, node), daemon=True).start()
            port = listener.getsockname()[1]
            address = {"node": node, "host": socket.gethostname(), "port": port, "route": _outward_address()}
            _write(folder, f"{node}.address", address)
            wanted = int(os.environ.get("SLURM_NNODES", "1"))
            addresses = _wait_for(folder, "address", wanted, time.monotonic() + seconds)
            report["peers"] = _try_all([address for address in addresses if address["node"] != node])
            _write(folder, f"{node}.report", report)
            # The others may still be connecting to this one.
            _wait_for(folder, "report", len(addresses), time.monotonic() + 3 * CONNECT_TIMEOUT_S)
    except OSError as error:
        report["folder_error"] = f"{error.strerror or error}: {error.filename or folder}"
    print(REPORT_PREFIX + json.dumps(report), flush=True)


def _see() -> dict[str, Any]:
    return {
        "time": time.time(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "rankfold": _version(),
        "missing_packages": [package for package in NEEDED if find_spec(package) is None],
        "cpus": len(os.sched_getaffinity(0)),
        "gpus": _gpus(),
        "own_address": _resolved(socket.gethostname()),
    }


def _version() -> str | None:
    try:
        return metadata.version("rankfold")
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> list[list[Any]]:
    """Name and memory in MiB of each GPU that this job may use."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (subprocess.SubprocessError, OSError):
        return []
    rows = (line.rsplit(",", 1) for line in answer.stdout.splitlines() if "," in line)
    return [[name.strip(), int(memory)] for name, memory in rows if memory.strip().isdecimal()]


def _resolved(host: str) -> str | None:
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
    except OSError:
        return None


def _outward_address() -> str | None:
    """The address of the interface that leads out of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            # Connecting a datagram socket sends nothing; it only chooses the way.
            route.connect(("192.0.2.1", 9))
            return str(route.getsockname()[0])
        except OSError:
            return None


def _answer(listener: socket.socket, node: str) -> None:
    """Tell everyone who connects which node this is and what its clock says."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # The listener was closed: the probe is over.
        with connection:
            connection.sendall(json.dumps({"node": node, "time": time.time()}).encode())


def _try_all(peers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    with ThreadPoolExecutor(max_workers=16) as pool:
        return dict(zip((peer["node"] for peer in peers), pool.map(_try, peers), strict=True))


def _try(peer: dict[str, Any]) -> dict[str, Any]:
    """Connect to a peer by its host name, or else by its address; say how far that got."""
    found = {"host": peer["host"], "address": _resolved(peer["host"]), "by_address": None}
    found |= _connect(peer, peer["host"]) if found["address"] else {"error": "its name does not resolve"}
    if found["error"] and peer["route"] and _connect(peer, peer["route"])["error"] is None:
        found["by_address"] = peer["route"]
    return found


def _connect(peer: dict[str, Any], host: str) -> dict[str, Any]:
    asked = time.time()
    try:
        with socket.create_connection((host, peer["port"]), CONNECT_TIMEOUT_S) as connection:
            reply = json.loads(connection.makefile().read() or "{}")
    except TimeoutError:
        return {"error": f"no answer within {CONNECT_TIMEOUT_S:g} s"}
    except ConnectionRefusedError:
        return {"error": "it refuses the connection"}
    except (OSError, ValueError) as error:
        return {"error": getattr(error, "strerror", None) or str(error)}
    answered = time.time()
    if reply.get("node") != peer["node"]:
        return {"error": f"it leads to another machine, {reply.get('node')}"}
    return {
        "error": None,
        "seconds": answered - asked,
        "clock_ahead_s": reply["time"] - (asked + answered) / 2,
    }


def _wait_for(folder: Path, kind: str, wanted: int, deadline: float) -> list[dict[str, Any]]:
    """The files of one kind that the nodes wrote, or those that were there in time."""
    while True:
        # Listing a folder makes NFS look again; asking for a name it did not have may not.
        names = os.listdir(folder)  # noqa: PTH208
        files = [folder / name for name in names if name.endswith(f".{kind}.json")]
        if len(files) >= wanted or NOBODY_ELSE in names or time.monotonic() > deadline:
            return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(files)]
        time.sleep(POLL_S)


def _write(folder: Path, name: str, value: dict[str, Any]) -> None:
    partial = folder / f".{name}.tmp"
    partial.write_text(json.dumps(value), encoding="utf-8")
    partial.rename(folder / f"{name}.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))

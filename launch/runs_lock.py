"""One submission at a time in a folder of runs, so that two of the same recipe become one run."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankfold.errors import OperationalError

NAME = ".submitting"
PATIENCE_S = 120.0
"""Longer than a driver may take to start, and than a busy Slurm takes for the jobs of a run."""
POLL_S = 0.05
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def submitting(runs_folder: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold the folder's lock, which the kernel lets go of when its holder ends, however it ends.

    Raises:
        OperationalError: Another process has held it for `patience_s` seconds.
    """
    runs_folder.mkdir(parents=True, exist_ok=True)
    path = runs_folder / NAME
    with path.open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + patience_s
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                file.seek(0)
                raise OperationalError(
                    f"{file.read() or 'another process'} has been submitting a run for {patience_s:.0f} s",
                    where=str(path),
                    remedy="Wait for it or end it, then try again.",
                )
            time.sleep(POLL_S)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems are mounted without locks. Only submissions of one recipe within the
        # same moment are then not told apart.
        if error.errno not in WITHOUT_LOCKS:
            raise
    return True

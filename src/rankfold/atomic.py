"""Files and folders that are either wholly there or not there at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def file(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file that takes the place of `path` when the block ends without an error.

    Raises:
        OSError: The folder cannot be written or the disk is full; `path` is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to disk, then rename it into place; errors as `file`."""
    with file(path) as opened:
        opened.write(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON as `write_bytes` does; NaN and infinity raise ValueError."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `path` when the block ends without an error."""
    with _folder_beside(path) as temporary:
        yield temporary
        flush(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    _sync_folder(path.parent)


@contextmanager
def folder_once(path: Path) -> Iterator[Path]:
    """As `folder`, but a folder that others have put there meanwhile stays: they may be reading it."""
    with _folder_beside(path) as temporary:
        yield temporary
        flush(temporary)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    _sync_folder(path.parent)


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `path`; unless it is renamed, it goes with the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def share(path: Path) -> None:
    """Give a file, or a folder and all in it, the permissions that new ones get by the user's umask.

    What is written here is the user's alone; what he asks for by name is for other programs, too.
    """
    mask = os.umask(0o077)
    os.umask(mask)
    for found in (path, *path.rglob("*")):
        found.chmod((0o777 if found.is_dir() else 0o666) & ~mask)


def flush(folder: Path) -> None:
    """Force the contents of a folder's files to disk, so that a rename cannot arrive there first."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_sync_folder = _sync

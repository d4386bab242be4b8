"""Writing checkpoints so that they are whole or not there, and finding the one to go on from."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile

from transformers.trainer import TRAINER_STATE_NAME

from rankfold import atomic, checkpoints
from rankfold.checkpoints import Marker
from rankfold.distributed import all_gather_bytes, barrier
from rankfold.errors import UserError
from rankfold.ranks import ranks

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
GIB = 1 << 30


@contextmanager
def written_whole(checkpoint: Path, *, step: int) -> Iterator[None]:
    """Mark a checkpoint once every rank has written its part in this block; every rank goes through it.

    Raises:
        OSError: There is no room, as `nothing_half_written` says.
    """
    here = ranks()
    with nothing_half_written(checkpoint):
        yield
        barrier()
        # What a node wrote only that node can force to disk.
        atomic.flush(checkpoint)
    # Where another rank is gone by now, rank 0 may have written the marker: nothing is removed any more.
    barrier()
    if here.is_main:
        with nothing_half_written(checkpoint):
            checkpoints.write_marker(checkpoint, Marker(step, here.world_size))
    # None goes on before the marker is there: the first to end may have the scheduler end the others.
    barrier()


@contextmanager
def nothing_half_written(folder: Path) -> Iterator[None]:
    """Remove a folder that could not be written to its end, and say so where the disk is full.

    torch reports a full disk as a RuntimeError about positions in a stream, safetensors as an error of its
    own; here it is an OSError.

    Raises:
        OSError: ENOSPC or EDQUOT; names the folder, how much of it was written, and what is free.
    """
    try:
        yield
    except Exception as error:
        number = _why_no_more_fits(folder.parent, error)
        written = sum(_sizes(folder))
        shutil.rmtree(folder, ignore_errors=True)
        if number is None:
            raise
        raise OSError(number, _no_space(folder, number, written)) from error


def resume_point(folder: Path) -> Path | None:
    """Return the newest whole checkpoint, if any, and remove those that are not whole.

    Every rank calls this and gets what rank 0 sees; on a shared file system others may see less.

    Raises:
        UserError: The checkpoint was written by another number of ranks.
    """
    here = ranks()
    found = [json.dumps(asdict(marker)).encode() for marker in _newest(folder)] if here.is_main else []
    for content in all_gather_bytes(found)[0]:
        marker = Marker(**json.loads(content))
        if marker.world_size != here.world_size:
            raise _other_world_size(folder, marker, here.world_size)
        return checkpoints.checkpoint_folder(folder, marker.step)
    return None


def has_ended(checkpoint: Path) -> bool:
    """Whether training ended with this checkpoint, at its last step or early."""
    state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    ended: bool = state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]
    return ended


def _newest(folder: Path) -> Iterator[Marker]:
    """The marker of the newest whole checkpoint; what is not whole goes, and that is said."""
    for step in checkpoints.incomplete_steps(folder):
        broken = checkpoints.checkpoint_folder(folder, step)
        print(f"removing {broken.name}: it was not written completely", flush=True)
        checkpoints.remove(broken)
    for step in checkpoints.complete_steps(folder)[-1:]:
        print(f"going on from checkpoint-{step}", flush=True)
        yield checkpoints.read_marker(checkpoints.checkpoint_folder(folder, step))


def _other_world_size(folder: Path, marker: Marker, world_size: int) -> UserError:
    checkpoint, wrote = checkpoints.checkpoint_folder(folder, marker.step), _ranks(marker.world_size)
    return UserError(
        f"{checkpoint.name} was written by {wrote}, but this job has {_ranks(world_size)}",
        where=str(checkpoint),
        remedy="Every rank's part of the data, the optimizer and the random state is in it: run on "
        f"{wrote} again, or remove {folder} to train from the start.",
    )


def _ranks(number: int) -> str:
    return f"{number} rank{'' if number == 1 else 's'}"


def _why_no_more_fits(folder: Path, error: BaseException) -> int | None:
    """ENOSPC or EDQUOT where that is why a folder could not be written, else None."""
    if isinstance(error, OSError):
        return error.errno if error.errno in NO_SPACE else None
    for number in NO_SPACE:
        if f"os error {number}" in str(error):  # safetensors' way to say it
            return number
    try:
        with TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(1 << 20))
            # A network file system may take bytes first and find no room for them later.
            os.fsync(probe.fileno())
    except OSError as refused:
        return refused.errno if refused.errno in NO_SPACE else None
    return None


def _sizes(folder: Path) -> Iterator[int]:
    """Sizes of a folder's files; another rank may be removing it."""
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            yield file.stat().st_size if file.is_file() else 0


def _no_space(folder: Path, number: int, written: int) -> str:
    free = shutil.disk_usage(folder.parent).free / GIB
    # The system's own words, by which the attempt's cause is known.
    return (
        f"{os.strerror(number)}: {folder.name} could not be written in {folder.parent}; "
        f"{written / GIB:.2f} GiB of it were, and {free:.2f} GiB are free without it"
    )

"""The checkpoints of a training run: which are whole, how many ranks wrote them, and which may go.

A checkpoint is whole once its marker is there, which is written last. Nothing here imports torch, so that
whoever watches a run can look at its checkpoints.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rankfold import atomic

COMPLETE_MARKER = "COMPLETE"


@dataclass(frozen=True)
class Marker:
    """What a marker says of its checkpoint.

    Attributes:
        world_size: Ranks that wrote it, each its own part.
    """

    step: int
    world_size: int


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where transformers' Trainer writes the checkpoint of a step."""
    return folder / f"checkpoint-{step}"


def complete_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints that are whole, ascending; none where the folder is not there."""
    return sorted(step for step, path in _checkpoints(folder) if (path / COMPLETE_MARKER).is_file())


def incomplete_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints that were not written, or not removed, to the end; ascending."""
    return sorted(step for step, path in _checkpoints(folder) if not (path / COMPLETE_MARKER).is_file())


def write_marker(checkpoint: Path, marker: Marker) -> None:
    """Say that a checkpoint is whole."""
    atomic.write_json(checkpoint / COMPLETE_MARKER, asdict(marker))


def read_marker(checkpoint: Path) -> Marker:
    """What a whole checkpoint's marker says."""
    return Marker(**json.loads((checkpoint / COMPLETE_MARKER).read_text(encoding="utf-8")))


def remove(checkpoint: Path) -> None:
    """Remove a checkpoint, its marker first: one that is half removed must not look whole."""
    (checkpoint / COMPLETE_MARKER).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def prune(folder: Path, *, keep: int, best: int | None) -> list[int]:
    """Remove whole checkpoints but the newest `keep` and the best one; return the steps of those removed."""
    steps = complete_steps(folder)
    gone = [step for step in steps[:-keep] if step != best]
    for step in gone:
        remove(checkpoint_folder(folder, step))
    return gone


def _checkpoints(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if number.isdecimal():
            yield int(number), path

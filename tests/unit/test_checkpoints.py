"""Which checkpoints are whole, and which of them stay; nothing here needs torch."""

from pathlib import Path

import pytest

from rankfold.checkpoints import (
    COMPLETE_MARKER,
    Marker,
    checkpoint_folder,
    complete_steps,
    incomplete_steps,
    prune,
    read_marker,
    remove,
    write_marker,
)


def checkpoint(folder: Path, step: int, *, complete: bool = True) -> Path:
    path = checkpoint_folder(folder, step)
    path.mkdir()
    (path / "optimizer.pt").touch()
    if complete:
        write_marker(path, Marker(step, world_size=2))
    return path


def test_whole_checkpoints_are_listed_by_number_and_not_by_name(tmp_path: Path) -> None:
    for step in (1000, 90, 200):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 3000, complete=False)
    for name in ("checkpoint-abc", "checkpoint-7.bak", "runs"):
        (tmp_path / name).mkdir()
    assert complete_steps(tmp_path) == [90, 200, 1000]
    assert incomplete_steps(tmp_path) == [3000]
    assert complete_steps(tmp_path / "missing") == incomplete_steps(tmp_path / "missing") == []


def test_a_marker_says_how_many_ranks_wrote_the_checkpoint(tmp_path: Path) -> None:
    assert read_marker(checkpoint(tmp_path, 7)) == Marker(7, 2)


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [(2, None, [30, 40]), (1, None, [40]), (1, 10, [10, 40]), (2, 40, [30, 40]), (9, 10, [10, 20, 30, 40])],
)
def test_the_newest_and_the_best_stay(tmp_path: Path, keep: int, best: int | None, left: list[int]) -> None:
    for step in (10, 20, 30, 40):
        checkpoint(tmp_path, step)
    removed = prune(tmp_path, keep=keep, best=best)
    assert complete_steps(tmp_path) == left
    assert sorted(removed + left) == [10, 20, 30, 40]


def test_a_checkpoint_that_is_not_whole_counts_for_nothing_in_what_stays(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, complete=False)
    assert prune(tmp_path, keep=1, best=None) == []
    assert complete_steps(tmp_path) == [10]


def test_a_removal_that_is_interrupted_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tmp_path, 10)
    monkeypatch.setattr("rankfold.checkpoints.shutil.rmtree", lambda *_, **__: None)
    remove(path)
    assert not (path / COMPLETE_MARKER).exists()
    assert incomplete_steps(tmp_path) == [10]

import json
import os
from pathlib import Path

import pytest

from rankfold import atomic


def disk_full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fill_half(folder: Path) -> None:
    with atomic.folder(folder) as partial:
        (partial / "half").touch()
        raise KeyboardInterrupt


def test_a_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for content in ("long content of the first time", "short"):
        atomic.write_text(tmp_path / "new" / "file.txt", content)
        assert (tmp_path / "new" / "file.txt").read_text() == content
    assert names(tmp_path / "new") == {"file.txt"}


def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atomic.write_text(tmp_path / "file", "old")
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_that_other_readers_refuse_is_never_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(tmp_path / "file.json", {"loss": value})
    assert names(tmp_path) == set()


def test_json_keeps_text_readable(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "file.json", {"地点": ["Ulm"]})
    assert "地点" in (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "file.json").read_text(encoding="utf-8")) == {"地点": ["Ulm"]}


def test_a_folder_appears_only_when_its_block_has_ended(tmp_path: Path) -> None:
    with atomic.folder(tmp_path / "model") as partial:
        (partial / "weights").write_text("whole")
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "model" / "weights").read_text() == "whole"
    assert names(tmp_path) == {"model"}


def test_a_folder_takes_the_place_of_an_older_one_with_none_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "stale").touch()
    with atomic.folder(tmp_path / "model") as partial:
        (partial / "fresh").touch()
    assert names(tmp_path / "model") == {"fresh"}


def test_an_error_while_a_folder_is_filled_keeps_the_old_one_and_removes_the_new(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with pytest.raises(KeyboardInterrupt):
        fill_half(tmp_path / "model")
    assert names(tmp_path) == {"model"}
    assert names(tmp_path / "model") == {"old"}


def test_of_several_who_make_the_same_folder_the_first_one_s_stays_and_nobody_fails(tmp_path: Path) -> None:
    with atomic.folder_once(tmp_path / "model") as slow:
        (slow / "weights").write_text("second")
        with atomic.folder_once(tmp_path / "model") as quick:
            (quick / "weights").write_text("first")
        inode = (tmp_path / "model").stat().st_ino
    assert (tmp_path / "model" / "weights").read_text() == "first"
    assert (tmp_path / "model").stat().st_ino == inode
    assert names(tmp_path) == {"model"}


def test_a_folder_that_is_made_once_cannot_take_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "model").touch()
    with pytest.raises(NotADirectoryError), atomic.folder_once(tmp_path / "model"):
        pass
    assert names(tmp_path) == {"model"}


def test_every_file_of_a_folder_is_flushed_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
    )
    with atomic.folder(tmp_path / "model") as partial:
        (partial / "inner").mkdir()
        for name in ("weights", "inner/data"):
            (partial / name).touch()
        expected = {partial / "weights", partial / "inner" / "data"}
    assert expected <= set(flushed)
    assert flushed[-1] == tmp_path


def test_what_is_written_is_private(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "file", "secret data")
    with atomic.folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "file").stat().st_mode & 0o077 == 0
    assert (tmp_path / "folder").stat().st_mode & 0o077 == 0

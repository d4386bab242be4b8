"""Checkpoints are whole or not there, also where the disk is full."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from transformers import TrainerCallback
from unit.training.line import Line, trainer

from rankfold import atomic
from rankfold.checkpoints import COMPLETE_MARKER, Marker, complete_steps, write_marker
from rankfold.training import checkpoints
from rankfold.training.checkpoints import has_ended, resume_point, written_whole


def test_the_marker_is_the_last_file_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: set[str] = set()
    original = atomic.flush

    def flush(folder: Path) -> None:
        original(folder)
        flushed.update(path.name for path in folder.iterdir())

    monkeypatch.setattr(atomic, "flush", flush)
    trainer(tmp_path, Line(), save_steps=2, max_steps=2).train()
    after = {path.name for path in (tmp_path / "checkpoint-2").iterdir()}
    assert after - flushed == {COMPLETE_MARKER}
    assert {"optimizer.pt", "scheduler.pt", "trainer_state.json", "continuation_0.json"} <= flushed


def test_callbacks_find_a_whole_checkpoint(tmp_path: Path) -> None:
    seen = []

    class Looks(TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append(complete_steps(tmp_path))

    of = trainer(tmp_path, Line(), callbacks=[Looks()], save_steps=1, max_steps=4, save_total_limit=2)
    of.train()
    assert seen == [[1], [1, 2], [2, 3], [3, 4]]


def test_what_is_not_whole_is_removed_and_said_before_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(tmp_path, Line(), save_steps=2, max_steps=4).train()
    (tmp_path / "checkpoint-6").mkdir()
    assert resume_point(tmp_path) == tmp_path / "checkpoint-4"
    assert not (tmp_path / "checkpoint-6").exists()
    said = capsys.readouterr().out
    assert "removing checkpoint-6: it was not written completely" in said
    assert "going on from checkpoint-4" in said


def test_without_a_whole_checkpoint_training_begins_at_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-6").mkdir()
    assert resume_point(tmp_path) is None
    assert resume_point(tmp_path / "missing") is None


def test_a_checkpoint_says_whether_training_ended_with_it(tmp_path: Path) -> None:
    trainer(tmp_path, Line(), save_steps=2, max_steps=4).train()
    assert not has_ended(tmp_path / "checkpoint-2")
    assert has_ended(tmp_path / "checkpoint-4")


TORCH_S_WAY = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")
SAFETENSORS_WAY = SafetensorError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), TORCH_S_WAY, SAFETENSORS_WAY])
def test_a_full_disk_is_said_to_be_full_and_leaves_the_older_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    original = torch.save

    def save(value: Any, path: str, *rest: Any, **more: Any) -> None:
        if "checkpoint-4" in path:
            raise error
        original(value, path, *rest, **more)

    def no_room(**_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(torch, "save", save)
    monkeypatch.setattr(checkpoints, "TemporaryFile", no_room)
    with pytest.raises(OSError, match=r"checkpoint-4 could not be written in .* GiB are free") as caught:
        trainer(tmp_path, Line(), save_steps=2, max_steps=6).train()
    assert caught.value.errno == errno.ENOSPC
    # Whoever watches the ranks knows the cause by these words.
    assert "No space left on device" in str(caught.value)
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-2"}
    assert complete_steps(tmp_path) == [2]


@pytest.mark.parametrize("error", [TORCH_S_WAY, PermissionError(errno.EACCES, "not allowed")])
def test_another_error_while_saving_is_not_taken_for_a_full_disk(tmp_path: Path, error: Exception) -> None:
    checkpoint = tmp_path / "checkpoint-2"
    checkpoint.mkdir()
    with pytest.raises(type(error)) as caught, written_whole(checkpoint, step=2):
        raise error
    assert caught.value is error
    assert not checkpoint.exists()


def test_a_quota_that_is_used_up_is_known_by_safetensors_words(tmp_path: Path) -> None:
    used_up = SafetensorError("I/O error: Disk quota exceeded (os error 122)")
    checkpoint = tmp_path / "checkpoint-2"
    said = "Disk quota exceeded: checkpoint-2"
    with pytest.raises(OSError, match=said) as caught, written_whole(checkpoint, step=2):
        raise used_up
    assert caught.value.errno == errno.EDQUOT


def test_a_file_that_another_rank_removes_meanwhile_does_not_hide_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoint-2"
    checkpoint.mkdir()
    (checkpoint / "optimizer.pt").touch()

    def is_there(path: Path) -> bool:
        path.unlink()
        return True

    monkeypatch.setattr(Path, "is_file", is_there)
    said = "No space left on device"
    with pytest.raises(OSError, match=said) as caught, written_whole(checkpoint, step=2):
        raise OSError(errno.ENOSPC, said)
    assert caught.value.errno == errno.ENOSPC


def test_a_checkpoint_that_another_rank_has_marked_stays_where_this_one_hears_of_it_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoint-2"
    meetings = iter(range(3))

    def meet() -> None:
        if next(meetings) == 1:
            write_marker(checkpoint, Marker(step=2, world_size=2))
            raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(checkpoints, "barrier", meet)
    checkpoint.mkdir()
    with pytest.raises(RuntimeError, match="closed by peer"), written_whole(checkpoint, step=2):
        (checkpoint / "optimizer.pt").touch()
    assert complete_steps(tmp_path) == [2]
    assert (checkpoint / "optimizer.pt").is_file()

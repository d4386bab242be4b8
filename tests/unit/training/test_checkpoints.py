import json
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback
from unit.training.line import Line, trainer

from rankfold.training.checkpoints import COMPLETE_MARKER, CompleteMarkerCallback, newest_complete_checkpoint


def test_the_marker_is_the_last_file_of_a_checkpoint(tmp_path: Path) -> None:
    class BeforeTheMarker(TrainerCallback):  # type: ignore[misc]
        """Runs after the Trainer has saved and before the marker's callback."""

        files: set[str]

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.files = {path.name for path in (tmp_path / "checkpoint-2").iterdir()}

    before = BeforeTheMarker()
    trainer(tmp_path, Line(), callbacks=[before, CompleteMarkerCallback()], save_steps=2, max_steps=2).train()
    after = {path.name for path in (tmp_path / "checkpoint-2").iterdir()}
    assert after - before.files == {COMPLETE_MARKER}
    assert {"optimizer.pt", "scheduler.pt", "trainer_state.json"} <= before.files


def checkpoint(folder: Path, step: int, *, complete: bool = True, ended: bool = False) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    state = {"stateful_callbacks": {"TrainerControl": {"args": {"should_training_stop": ended}}}}
    (path / "trainer_state.json").write_text(json.dumps(state))
    if complete:
        (path / COMPLETE_MARKER).touch()
    return path


def test_the_newest_complete_checkpoint_is_found_by_number_and_not_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(tmp_path, 90)
    newest = checkpoint(tmp_path, 200)
    checkpoint(tmp_path, 1000, complete=False)
    assert newest_complete_checkpoint(tmp_path) == newest
    assert "passing over checkpoint-1000" in capsys.readouterr().out


def test_a_checkpoint_at_which_training_ended_is_passed_over(tmp_path: Path) -> None:
    before = checkpoint(tmp_path, 100)
    checkpoint(tmp_path, 200, ended=True)
    assert newest_complete_checkpoint(tmp_path) == before


def test_the_trainer_says_in_a_checkpoint_whether_training_ended(tmp_path: Path) -> None:
    of = trainer(tmp_path, Line(), callbacks=[CompleteMarkerCallback()], save_steps=2, max_steps=4)
    of.train()
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-2", "checkpoint-4"}
    assert newest_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


@pytest.mark.parametrize("names", [(), ("checkpoint-abc", "checkpoint-7.bak")])
def test_without_a_checkpoint_training_begins_at_the_beginning(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    assert newest_complete_checkpoint(tmp_path) is None
    assert newest_complete_checkpoint(tmp_path / "missing") is None

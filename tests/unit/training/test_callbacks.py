import json
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState
from unit.training.line import Line, trainer

from rankfold.checkpoints import complete_steps
from rankfold.errors import NumericalError
from rankfold.training.callbacks import ProgressCallback


@pytest.mark.parametrize("nan_from", [1, 3])
def test_a_loss_that_is_no_number_ends_the_training_at_its_step_and_is_not_saved(
    tmp_path: Path, nan_from: int
) -> None:
    of = trainer(tmp_path, Line(nan_from=nan_from), logging_steps=100, save_steps=1, max_steps=8)
    with pytest.raises(NumericalError, match="the training loss is nan") as caught:
        of.train()
    assert caught.value.where == f"step {nan_from}"
    assert complete_steps(tmp_path) == list(range(1, nan_from))


def test_progress_ends_at_the_last_step_with_the_last_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = ProgressCallback(tmp_path / "progress.json")
    of = trainer(tmp_path, Line(), callbacks=[progress], logging_steps=2, max_steps=4)
    of.train()
    written = json.loads((tmp_path / "progress.json").read_text())
    assert (written["stage"], written["unit"], written["step"], written["total"]) == ("train", "step", 4, 4)
    assert 0 < written["loss"] < 1000
    assert "step 4/4  loss " in capsys.readouterr().out


def test_only_the_first_rank_writes_progress(tmp_path: Path) -> None:
    progress = ProgressCallback(tmp_path / "progress.json")
    arguments = trainer(tmp_path, Line()).args
    other = TrainerState(max_steps=4, is_world_process_zero=False)
    progress.on_train_begin(arguments, other, TrainerControl())
    progress.on_step_end(arguments, other, TrainerControl())
    assert not (tmp_path / "progress.json").exists()

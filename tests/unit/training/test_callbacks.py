import json
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments
from unit.training.line import Line, trainer

from rankfold.errors import NumericalError
from rankfold.training.callbacks import ProgressCallback, SaveStepsCallback


@pytest.mark.parametrize("nan_from", [1, 3])
def test_a_loss_that_is_no_number_ends_the_training_at_a_named_step(tmp_path: Path, nan_from: int) -> None:
    progress = ProgressCallback(tmp_path / "progress.json")
    of = trainer(tmp_path, Line(nan_from=nan_from), callbacks=[progress], logging_steps=1, max_steps=8)
    with pytest.raises(NumericalError, match="the training loss is nan") as caught:
        of.train()
    assert caught.value.where == f"step {nan_from}"


def test_a_loss_that_was_no_number_between_two_logs_is_not_averaged_away(tmp_path: Path) -> None:
    progress = ProgressCallback(tmp_path / "progress.json")
    of = trainer(tmp_path, Line(nan_from=3), callbacks=[progress], logging_steps=5, max_steps=8)
    with pytest.raises(NumericalError) as caught:
        of.train()
    assert caught.value.where == "step 5"


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


@pytest.mark.parametrize(
    ("step", "epoch", "in_step", "after_epoch"), [(4, 0.5, True, True), (8, 1.0, False, True)]
)
def test_the_end_of_an_epoch_is_saved_after_its_evaluation(
    tmp_path: Path, step: int, epoch: float, in_step: bool, after_epoch: bool
) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), eval_strategy="epoch", use_cpu=True)
    state, callback = TrainerState(global_step=step, epoch=epoch), SaveStepsCallback(4)
    control = TrainerControl()
    callback.on_step_end(arguments, state, control)
    assert control.should_save == in_step
    callback.on_epoch_end(arguments, state, control)
    assert control.should_save == after_epoch

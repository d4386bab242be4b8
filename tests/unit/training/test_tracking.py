"""Trackers go on with the run of the attempt before."""

import sys
import types
from pathlib import Path
from typing import Any, cast

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from rankfold.run_folder import RunFolder
from rankfold.training.tracking import TrackingCallback, name_the_run


def test_every_attempt_names_the_same_run_and_what_the_user_set_stays(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "tiny-1")
    environment = {"WANDB_RUN_ID": "mine"}
    name_the_run(run, environment)
    assert environment == {
        "WANDB_RUN_ID": "mine",
        "WANDB_RESUME": "allow",
        "SWANLAB_RUN_ID": "tiny-1",
        "SWANLAB_RESUME": "allow",
        "TENSORBOARD_LOGGING_DIR": str(run.tensorboard),
    }


@pytest.mark.parametrize(
    ("report_to", "main", "known"), [("mlflow", True, True), ("mlflow", False, False), ("none", True, False)]
)
def test_the_id_that_mlflow_gave_is_known_to_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report_to: str, main: bool, known: bool
) -> None:
    run = RunFolder(tmp_path / "tiny-1")
    active = types.SimpleNamespace(info=types.SimpleNamespace(run_id="0f3a"))
    monkeypatch.setitem(sys.modules, "mlflow", cast(Any, types.SimpleNamespace(active_run=lambda: active)))
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    arguments.report_to = [report_to]
    state = TrainerState(is_world_process_zero=main)
    TrackingCallback(run).on_train_begin(arguments, state, TrainerControl())
    environment: dict[str, str] = {}
    name_the_run(run, environment)
    assert environment.get("MLFLOW_RUN_ID") == ("0f3a" if known else None)

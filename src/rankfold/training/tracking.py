"""One run in every tracker, however many attempts it takes."""

import json
import os
import sys
from collections.abc import MutableMapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rankfold import atomic
from rankfold.run_folder import RunFolder

MLFLOW_RUN_ID = "MLFLOW_RUN_ID"


def name_the_run(run: RunFolder, environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell trackers by their variables which run to go on with; what the user has set stays.

    trackio goes by the name of the run and needs none. MLflow gives ids itself: an earlier attempt has
    written it down.
    """
    variables = {
        "WANDB_RUN_ID": run.run_id,
        "WANDB_RESUME": "allow",
        "SWANLAB_RUN_ID": run.run_id,
        "SWANLAB_RESUME": "allow",
        # Its own default has the time of day in it, and lies among the checkpoints.
        "TENSORBOARD_LOGGING_DIR": str(run.tensorboard),
    }
    if run.tracking.is_file():
        variables[MLFLOW_RUN_ID] = json.loads(run.tracking.read_text(encoding="utf-8"))["mlflow"]
    for name, value in variables.items():
        environment.setdefault(name, value)


class TrackingCallback(TrainerCallback):  # type: ignore[misc]
    """Writes down which MLflow run this one is; the Trainer calls its own callbacks first."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and "mlflow" in args.report_to:
            active = sys.modules["mlflow"].active_run()
            atomic.write_json(self._run.tracking, {"mlflow": active.info.run_id})

"""One run in every tracker, however many attempts it takes."""

import sys
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rankfold import atomic
from rankfold.run_folder import RunFolder
from rankfold.training.trackers import open_swanlab


class TrackingCallback(TrainerCallback):  # type: ignore[misc]
    """Opens and closes what transformers' own callbacks do not, and writes down which MLflow run this one is.

    The Trainer calls its own callbacks first.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and "swanlab" in args.report_to:
            # SwanLab 0.10 raises where transformers 5 asks it whether a run is open and none is.
            open_swanlab(self._run)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and "mlflow" in args.report_to:
            active = sys.modules["mlflow"].active_run()
            atomic.write_json(self._run.tracking, {"mlflow": active.info.run_id})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and "swanlab" in args.report_to:
            import swanlab

            # The merge goes on with it, perhaps on another machine.
            swanlab.finish()

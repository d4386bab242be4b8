"""One run in every tracker, however many attempts it takes; and none that ends a training that has begun."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from rankfold import atomic
from rankfold.run_folder import RunFolder
from rankfold.training.trackers import described, open_swanlab

_EVENTS = tuple(name for name in dir(TrainerCallback) if name.startswith("on_"))


class TrackingCallback(TrainerCallback):  # type: ignore[misc]
    """Opens and closes what transformers' own callbacks do not, and writes down which MLflow run this one is.

    The Trainer calls its own callbacks first. A tracker that fails before the first step of all ends the
    training, which has cost nothing yet; one that fails later is told no more.

    Args:
        run: The run.
        has_begun: An earlier attempt has trained.

    Attributes:
        errors: Trackers that failed, and why.
    """

    def __init__(self, run: RunFolder, *, has_begun: bool = False) -> None:
        self._run, self._has_begun = run, has_begun
        self.errors: dict[str, str] = {}

    def guard(self, callbacks: Iterable[TrainerCallback]) -> None:
        """Have transformers' own trackers fail without a training that has begun."""
        trackers = {kind: name for name, kind in INTEGRATION_TO_CALLBACK.items()}
        for callback in callbacks:
            if tracker := trackers.get(type(callback)):
                for event in _EVENTS:
                    setattr(callback, event, partial(self._tell, tracker, getattr(callback, event)))

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and "swanlab" in args.report_to:
            # SwanLab 0.10 raises where transformers 5 asks it whether a run is open and none is.
            self._tell("swanlab", open_swanlab, self._run)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and "mlflow" in args.report_to:
            self._tell("mlflow", self._note_mlflow)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._has_begun = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and "swanlab" in args.report_to:
            # The merge goes on with it, perhaps on another machine.
            self._tell("swanlab", lambda: sys.modules["swanlab"].finish())

    def _note_mlflow(self) -> None:
        active = sys.modules["mlflow"].active_run()
        atomic.write_json(self._run.tracking, {"mlflow": active.info.run_id})

    def _tell(self, tracker: str, tell: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Tell a tracker something, unless it has failed before."""
        if tracker in self.errors:
            return None
        try:
            return tell(*arguments, **options)
        except Exception as error:  # whatever a tracker, its server or the network may come up with
            if not self._has_begun:
                raise
            self.errors[tracker] = described(error)
            print(f"warning: {tracker} is told no more of this training: {described(error)}", flush=True)
            return None

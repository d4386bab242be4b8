"""What goes along with a training run: its progress and more occasions to save."""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rankfold.progress import Progress


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Writes progress for the run's watchers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._progress: Progress | None = None
        self._loss: float | None = None
        self._tokens_per_second: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self._progress = Progress(self._path, "train", "step", state.max_steps, first=state.global_step)
            self._progress.update(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        self._loss = float(loss)
        self._tokens_per_second = (logs or {}).get("tokens_per_second")
        if state.is_world_process_zero:
            rate = (logs or {}).get("learning_rate", 0.0)
            speed = f"  {self._tokens_per_second:,.0f} tokens/s" if self._tokens_per_second else ""
            print(f"{_step(state)}  loss {self._loss:.4f}  learning rate {rate:.2e}{speed}", flush=True)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero:
            name = args.metric_for_best_model
            value = metrics[f"eval_{name}"]
            # The Trainer takes note of a better value only after this.
            best = state.best_metric
            is_best = best is None or (value > best if args.greater_is_better else value < best)
            remark = " (best so far)" if is_best else ""
            print(f"{_step(state)}  {name} {value:.4g}{remark}", flush=True)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._progress is not None:
            self._progress.update(state.global_step, self._loss, tokens_per_second=self._tokens_per_second)


class SaveStepsCallback(TrainerCallback):  # type: ignore[misc]
    """Saves every so many steps, also where the Trainer itself saves with its evaluations."""

    def __init__(self, save_steps: int) -> None:
        self._save_steps = save_steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self._save_steps == 0:
            control.should_save = True


def _step(state: TrainerState) -> str:
    return f"step {state.global_step}/{state.max_steps}"

"""transformers' Trainer with a learning rate for new heads, progress, and checkpoints that are whole."""

import math
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rankfold import atomic
from rankfold.distributed import barrier
from rankfold.errors import NumericalError
from rankfold.progress import Progress

COMPLETE_MARKER = "COMPLETE"


class FineTuningTrainer(Trainer):  # type: ignore[misc]
    """The Trainer, with `head_learning_rate` for parameters that the model's files did not hold."""

    def __init__(self, *, head_learning_rate: float | None, new_parameters: frozenset[str], **options: Any):
        super().__init__(**options)
        self._head_learning_rate = head_learning_rate
        self._new_parameters = new_parameters

    def create_optimizer(self, model: torch.nn.Module | None = None) -> Optimizer:
        """Build the Trainer's optimizer, then give the new head groups of its own."""
        optimizer: Optimizer = super().create_optimizer(model)
        if self._head_learning_rate is not None:
            head = {
                id(parameter)
                for name, parameter in (model or self.model).named_parameters()
                if _original_name(name) in self._new_parameters
            }
            split_groups(optimizer, head, self._head_learning_rate)
        return optimizer


def split_groups(optimizer: Optimizer, head: set[int], head_learning_rate: float) -> None:
    """Move the parameters whose id() is in `head` into groups with their own learning rate."""
    for group in list(optimizer.param_groups):
        ours = [parameter for parameter in group["params"] if id(parameter) in head]
        if not ours:
            continue
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in head]
        settings = {key: value for key, value in group.items() if key not in ("params", "lr")}
        optimizer.add_param_group({**settings, "params": ours, "lr": head_learning_rate})


def _original_name(name: str) -> str:
    """Undo the names that PEFT gives to a head that is trained in full beside an adapter."""
    return name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Writes progress for the run's watchers and refuses to go on from a loss that is not a number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._progress: Progress | None = None
        self._loss: float | None = None

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
        if not math.isfinite(loss):
            raise NumericalError(
                f"the training loss is {loss}",
                where=f"step {state.global_step}",
                remedy="Lower train.learning_rate, or train in bf16 or float32 rather than fp16.",
            )
        self._loss = float(loss)
        if state.is_world_process_zero:
            rate = (logs or {}).get("learning_rate", 0.0)
            step = f"step {state.global_step}/{state.max_steps}"
            print(f"{step}  loss {self._loss:.4f}  learning rate {rate:.2e}", flush=True)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._progress is not None:
            self._progress.update(state.global_step, self._loss)


class CompleteMarkerCallback(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint as complete once every rank has written its part."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        barrier()
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            atomic.write_text(folder / COMPLETE_MARKER, f"{state.global_step}\n")


def newest_complete_checkpoint(checkpoints: Path, *, total_steps: int) -> Path | None:
    """Return the newest checkpoint to go on from; one without its marker is passed over, and said.

    One at the last step is passed over too: the Trainer would train a step too many from it.
    """
    found = []
    for folder in checkpoints.glob("checkpoint-*"):
        number = folder.name.removeprefix("checkpoint-")
        if not number.isdecimal():
            continue
        step = int(number)
        if not (folder / COMPLETE_MARKER).is_file():
            print(f"passing over {folder.name}: it was not written completely", flush=True)
        elif step < total_steps:
            found.append((step, folder))
    return max(found)[1] if found else None

"""transformers' Trainer with a task's loss, new heads' learning rate, its own evaluation, and safe points."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rankfold import checkpoints
from rankfold.distributed import agree
from rankfold.errors import NumericalError, RecipeError, StoppedError
from rankfold.lifeline import Lifeline
from rankfold.training.checkpoints import has_ended, written_whole
from rankfold.training.continuation import Continuation
from rankfold.training.deepspeed import give_back_weights
from rankfold.training.flops import peak_flops, training_flops
from rankfold.training.label_smoothing import smoothed
from rankfold.training.sampler import EpochSampler, training_sampler
from rankfold.training.throughput import WORK, Batch, CountingCollator, Rows, Throughput, Work
from rankfold.training.validation import Validation

Loss = Callable[[Module, Batch], tuple[Tensor, Any]]
"""The mean loss over a batch's items, and the model's output."""


class FineTuningTrainer(Trainer):  # type: ignore[misc]
    """The Trainer, whose training can be stopped after any step and goes on as if it had not been.

    Gradients are those of the mean loss over all items of a step: a batch counts by how many items it has,
    whichever rank and accumulated batch it is.

    Args:
        loss: The task's.
        num_items: How many items the loss of a batch is a mean over.
        data_collator: Makes a batch of rows.
        shifts_labels: Each position predicts the next one's label, as in a causal language model.
        loss_couples_rows: See `Task`.
        head_learning_rate: For parameters that the model's files did not hold.
        save_total_limit: Whole checkpoints to keep; the Trainer's own rotation counts broken ones too.
        lifeline: Says when to stop.
    """

    def __init__(
        self,
        *,
        loss: Loss,
        num_items: Callable[[Batch], int],
        shifts_labels: bool,
        loss_couples_rows: bool,
        data_collator: Callable[[Rows], Batch],
        head_learning_rate: float | None,
        new_parameters: frozenset[str],
        save_total_limit: int,
        validation: Validation | None = None,
        lifeline: Lifeline | None = None,
        **options: Any,
    ):
        collator = CountingCollator(data_collator, num_items)
        # The Trainer only wants to know that there is a data set where it is to evaluate.
        super().__init__(
            eval_dataset=validation.set.features if validation else None,
            data_collator=collator,
            **options,
        )
        # Of compute_loss, which leaves the Trainer nothing to divide.
        self.loss_is_scaled_for_ga = True
        self.throughput = Throughput()
        self._loss, self._shifts_labels = loss, shifts_labels
        self._items: deque[int] = deque()
        self._collator = collator
        self._head_learning_rate = head_learning_rate
        self._new_parameters = new_parameters
        self._save_total_limit = save_total_limit
        self._validation = validation
        self._lifeline = lifeline or Lifeline()
        self._loss_couples_rows = loss_couples_rows
        self._sampler: EpochSampler | None = None
        self._checkpoint: Path | None = None
        self._earlier = Continuation()
        self._started = time.monotonic()
        self._last_step = 0
        self._save_is_due = False
        self._stops = False
        self.add_callback(_TakeUp(self))

    def create_optimizer(self, model: torch.nn.Module | None = None) -> Optimizer:
        """Build the Trainer's optimizer, then give the new head groups of its own."""
        optimizer: Optimizer = super().create_optimizer(model)
        if self._head_learning_rate is not None:
            head = {
                id(parameter)
                for name, parameter in (model or self.model).named_parameters()
                if _original_name(name) in self._new_parameters
            }
            if not head and self.is_world_process_zero():
                print("train.head_learning_rate changes nothing: no weight is new", flush=True)
            split_groups(optimizer, head, self._head_learning_rate)
        return optimizer

    def train(self, resume_from_checkpoint: str | None = None, **options: Any) -> Any:
        """Train, from a checkpoint on where one is given.

        Raises:
            NumericalError: The loss, or a logit of an evaluation, is no longer a number.
            OSError: A checkpoint cannot be written; it is removed again.
            StoppedError: A rank was asked to stop; a checkpoint of the last step is there.
        """
        self._checkpoint = Path(resume_from_checkpoint) if resume_from_checkpoint else None
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **options)

    def take_up(self) -> None:
        """Set what the Trainer, about to begin, has not set from the checkpoint."""
        self._started = time.monotonic()
        if self._checkpoint is not None:
            self._earlier = Continuation.read(self._checkpoint, self.args.process_index)
            self._earlier.restore(self)
            self.control.should_training_stop = has_ended(self._checkpoint)
        self.throughput.go_on()

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> int:
        """Count the items of the step that begins: all its batches, of all ranks."""
        works = [batch.pop(WORK) for batch in batch_samples]
        self._items.extend(work.items for work in works)
        step = sum(works, Work()).over_ranks()
        self.throughput.add(step)
        return step.items

    def compute_loss(
        self,
        model: Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """This batch's part of the mean loss over the step's items, times the number of ranks.

        Ranks average their gradients, DistributedDataParallel's as DeepSpeed's, so that their sum is wanted
        times that number. The Trainer asks for the batches of a step in order.
        """
        items, of_step = self._items.popleft(), max(int(num_items_in_batch or 0), 1)
        loss, output = self._loss(model, inputs)
        if self.args.label_smoothing_factor:
            factor = self.args.label_smoothing_factor
            loss = smoothed(loss, output, inputs, factor=factor, shifts_labels=self._shifts_labels)
        if items == 0:
            # A mean over nothing is NaN. The backward pass has to go on, since other ranks wait in it.
            loss = torch.nan_to_num(loss)
        loss = loss * (items / of_step * self.accelerator.num_processes)
        return (loss, output) if return_outputs else loss

    def speed(self) -> dict[str, float]:
        """How fast training was, for its summary; every rank calls this. See `Throughput.summary`."""
        card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        peak = peak_flops(card, self.args, self.model.dtype) if card else None
        return self.throughput.summary(
            training_flops(self.model), peak * self.accelerator.num_processes if peak else None
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, and tell callbacks and trackers the speed, which is no part of what a run comes to."""
        speed = self.throughput.tokens_per_second_since_log() if "loss" in logs else None
        super().log(logs if speed is None else {**logs, "tokens_per_second": speed}, start_time)
        self.state.log_history[-1].pop("tokens_per_second", None)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        rows = self.train_dataset if train_dataset is None else train_dataset
        self._sampler = training_sampler(rows, self.args, loss_couples_rows=self._loss_couples_rows)
        return self._sampler

    def _run_epoch(self, *, epoch: int, **options: Any) -> None:
        # Before the loader is iterated, which gives its processes what the collator is then.
        self._collator.epoch = epoch
        if self._sampler is not None:
            # In an epoch that is taken up in its middle, the Trainer does not reach it on several ranks.
            self._sampler.set_epoch(epoch)
        # From a checkpoint at which training had ended the Trainer would make a step more.
        if not self.control.should_training_stop:
            super()._run_epoch(epoch=epoch, **options)

    def _maybe_log_save_evaluate(self, *arguments: Any, **options: Any) -> None:
        """Log, evaluate and save where it is time to; then stop if any rank was asked to.

        The Trainer calls this after every step, and at the end of an epoch again, which evaluates epochs.
        Only then is an epoch's last step saved: a run that goes on from there would not evaluate it.
        """
        again = self.state.global_step == self._last_step
        self._last_step = self.state.global_step
        if not again:
            self._meet()
            self.throughput.pause()
        ended = self.control.should_training_stop or float(self.state.epoch).is_integer()
        comes_again = ended and not again
        due = self.control.should_save or self._save_is_due or self._stops
        self.control.should_save, self._save_is_due = due and not comes_again, due and comes_again
        super()._maybe_log_save_evaluate(*arguments, **options)
        self._lifeline.beat()
        if self._stops and not comes_again:
            raise StoppedError(
                f"stopped as asked ({self._lifeline.stop_reason or 'another rank was asked to stop'})",
                where=f"step {self.state.global_step}",
                remedy="Training goes on from the checkpoint of this step.",
            )
        self.throughput.go_on()

    def _meet(self) -> None:
        """Say to all ranks, and hear from them, whether to stop and whether a loss is no number.

        Each rank decides by what all say, so that none waits for one that has left. Looking at the loss waits
        for the GPU once a step; looking seldom would let a checkpoint be written of a model that is lost.
        """
        self._lifeline.beat()
        is_finite = bool(torch.isfinite(self._tr_loss))
        self._stops, broken = agree([self._lifeline.stop_reason is not None, not is_finite])
        if broken:
            raise NumericalError(
                f"the training loss is {float(self._tr_loss)}"
                if not is_finite
                else "the training loss of another rank is not finite",
                where=f"step {self.state.global_step}",
                remedy="Lower train.learning_rate, or train in bf16 or float32 rather than fp16.",
            )

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        step = self.state.global_step
        folder = Path(self.args.output_dir)
        checkpoint = checkpoints.checkpoint_folder(folder, step)
        self._lifeline.beat()
        with written_whole(checkpoint, step=step):
            super()._save_checkpoint(model, trial)
            now = Continuation.of(self, started=self._started, earlier=self._earlier)
            now.write(checkpoint, self.args.process_index)
        if self.state.is_world_process_zero:
            best = self.state.best_global_step if self.args.load_best_model_at_end else None
            checkpoints.prune(folder, keep=self._save_total_limit, best=best)

    def _finalize_training(self, trial: Any, num_train_samples: float, start_time: float) -> Any:
        # The time of all attempts, as steps and loss are those of all.
        return super()._finalize_training(trial, num_train_samples, start_time - self._earlier.seconds)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the validation set; the Trainer's own would gather every rank's logits.

        Raises:
            NumericalError: The model gave NaN or infinity.
            RecipeError: The task has no metric of the name that says which checkpoint is best.
        """
        if self._validation is None or eval_dataset is not None:
            raise ValueError("this trainer evaluates its own validation set, and has to be given one")
        found = self._validation.metrics(self.model, self._lifeline)
        give_back_weights(self.model_wrapped)
        wanted = self.args.metric_for_best_model
        if wanted not in found:
            raise RecipeError(
                f'there is no metric "{wanted}"; there are {", ".join(found)}',
                where="train.metric_for_best_model",
                remedy="Name one of these, or validate on what it is computed from.",
            )
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        handler = self.callback_handler
        self.control: TrainerControl = handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _TakeUp(TrainerCallback):  # type: ignore[misc]
    """Nothing else is called after the Trainer has set its sums to zero and before its first epoch."""

    def __init__(self, trainer: FineTuningTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._trainer.take_up()


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

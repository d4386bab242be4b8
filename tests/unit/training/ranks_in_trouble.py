"""What test_ranks_in_trouble.py has every rank do."""

import errno
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from safetensors.torch import save_file
from transformers import TrainerCallback
from unit.training.line import Line, trainer

from rankfold.errors import NumericalError, OperationalError, StoppedError
from rankfold.lifeline import Lifeline
from rankfold.ranks import ranks
from rankfold.run_folder import RunFolder
from rankfold.training.callbacks import ProgressCallback
from rankfold.training.save import save_model
from rankfold.training.validation import raised_on_every_rank


def stop_and_go_on(whole: RunFolder, stopped: RunFolder, stops: list[int]) -> None:
    """Train one run at once and another with stops, for which one rank or the other is asked."""
    # Importing it takes seconds, which the other test can do without.
    from unit.training.validated import trained

    rank, world_size = ranks().rank, ranks().world_size
    summaries = [trained(whole, world_size=world_size)]
    for number, stop in enumerate(stops):
        lifeline = Lifeline()
        if number % world_size == rank:
            _ask_at(stop, lifeline)
        with pytest.raises(StoppedError) as caught:
            trained(stopped, world_size=world_size, lifeline=lifeline)
        assert caught.value.where == f"step {stop}"
        _ask_at(0, lifeline)
    summaries.append(trained(stopped, world_size=world_size))
    (stopped.root / f"summaries{rank}.json").write_text(json.dumps(summaries))


def _ask_at(step: int, lifeline: Lifeline) -> None:
    def ask(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step + 1 == step:
            lifeline.ask_to_stop("preemption or requeue")

    ProgressCallback.on_step_begin = ask


def meet_trouble(folder: Path, timeout_s: float) -> None:
    """One rank meets NaN, or a full disk, then it hangs; the others have to hear of it."""
    is_last = ranks().rank == ranks().world_size - 1
    met = [_message(lambda: _train_into_nan(folder, is_last)), _message(lambda: _evaluate_nan(is_last))]
    (folder / f"met{ranks().rank}.json").write_text(json.dumps(met))
    (folder / f"unsaved{ranks().rank}.json").write_text(json.dumps([*_cannot_save(folder)]))
    with (folder / f"rank{ranks().rank}.log").open("a") as stacks:
        lifeline = Lifeline(timeout_s, stacks)
        callbacks = [NeverComesBack()] if is_last else []
        trainer(folder, Line(), callbacks=callbacks, lifeline=lifeline, max_steps=6).train()


def _cannot_save(folder: Path) -> Iterator[tuple[str, str]]:
    """Names and words of the errors where rank 0's disk is full for the weights, then for the tokenizer."""

    def full(*_: Any) -> None:
        if ranks().is_main:
            raise OSError(errno.ENOSPC, "No space left on device")

    def save(path: str) -> None:
        if ranks().is_main:
            Path(path).mkdir()
            save_file(model.state_dict(), Path(path) / "model.safetensors")

    model = Line()
    for saves in (full, save):
        tokenizer: Any = SimpleNamespace(save_pretrained=full)
        with pytest.raises((OSError, OperationalError)) as caught:
            save_model(
                cast("Any", SimpleNamespace(save_model=saves, model=model)), tokenizer, folder / "model"
            )
        yield type(caught.value).__name__, str(caught.value).partition(": .model")[0]


def _message(failing: Callable[[], None]) -> str:
    with pytest.raises(NumericalError) as caught:
        failing()
    return str(caught.value).partition("\n")[0]


def _train_into_nan(folder: Path, is_last: bool) -> None:
    model = Line(nan_from=3 if is_last else None)
    trainer(folder, model, max_steps=6, logging_steps=100, save_steps=2).train()


def _evaluate_nan(is_last: bool) -> None:
    with raised_on_every_rank():
        if is_last:
            raise NumericalError("a logit is not finite", where="window 7, rank 1 (validation)")


class NeverComesBack(TrainerCallback):  # type: ignore[misc]
    """Waits for ever before the third step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            threading.Event().wait()

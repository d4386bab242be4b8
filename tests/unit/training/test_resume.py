"""Resuming is invisible: a training that was stopped and went on leaves what an uninterrupted one leaves."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from accelerate import accelerator  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import TrainerCallback
from unit.training.line import Line, trainer

from rankfold.checkpoints import complete_steps
from rankfold.errors import StoppedError
from rankfold.lifeline import Lifeline
from rankfold.training.checkpoints import resume_point
from rankfold.training.trainer import FineTuningTrainer

STEPS = 8
# Ten rows in batches of two, two batches a step: three steps an epoch, the third of one batch.
SETTINGS = {"max_steps": STEPS, "gradient_accumulation_steps": 2, "logging_steps": 3, "save_steps": 100}


class AskedToStop(TrainerCallback):  # type: ignore[misc]
    """Asks to stop during a step, and counts the steps."""

    def __init__(self, lifeline: Lifeline, at: int | None) -> None:
        self.lifeline, self.at, self.steps = lifeline, at, 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps += 1
        if state.global_step + 1 == self.at:
            self.lifeline.ask_to_stop("time limit")


def attempt(folder: Path, stop_at: int | None = None, **train: Any) -> tuple[FineTuningTrainer, Any, int]:
    """Go on from the newest checkpoint; return the trainer, its output and the steps made here."""
    lifeline = Lifeline()
    asked = AskedToStop(lifeline, stop_at)
    of = trainer(
        folder, Line(dropout=0.5), callbacks=[asked], lifeline=lifeline, num_rows=10, **SETTINGS | train
    )
    checkpoint = resume_point(folder)
    if stop_at is None:
        output = of.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return of, output, asked.steps
    with pytest.raises(StoppedError, match="time limit"):
        of.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    assert complete_steps(folder)[-1] == of.state.global_step
    return of, None, asked.steps


def what_is_left(of: FineTuningTrainer, output: Any) -> tuple[Any, ...]:
    history = [entry for entry in of.state.log_history if "loss" in entry]
    weights = [parameter.tolist() for parameter in of.model.parameters()]
    return weights, history, output.training_loss, output.global_step


def same_in_the_end(folder: Path, stops: Sequence[int], **train: Any) -> None:
    whole, output, _ = attempt(folder / "whole", **train)
    steps = 0
    for stop in stops:
        steps += attempt(folder / "stopped", stop, **train)[2]
    resumed, resumed_output, last_steps = attempt(folder / "stopped", **train)
    assert what_is_left(resumed, resumed_output) == what_is_left(whole, output)
    assert steps + last_steps == STEPS


@pytest.fixture
def numbered(tmp_path: Path) -> Any:
    """A new folder each time: an example of a property must not find another one's."""
    numbers = iter(range(1000))
    return lambda: tmp_path / str(next(numbers))


# Between two logs, at the end of an epoch, in the middle of one, at the last step.
@pytest.mark.parametrize("stop", [2, 3, 5, STEPS])
def test_a_training_stopped_after_any_step_ends_as_if_it_had_not_been(tmp_path: Path, stop: int) -> None:
    same_in_the_end(tmp_path, [stop])


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stops=st.lists(st.integers(1, STEPS), min_size=1, max_size=3, unique=True).map(sorted),
    strategy=st.sampled_from(["random", "group_by_length"]),
    accumulation=st.sampled_from([1, 2, 3]),
    logging_steps=st.sampled_from([1, 2, 5, 100]),
    save_steps=st.sampled_from([1, 2, 3, 100]),
    schedule=st.sampled_from(["linear", "cosine"]),
)
def test_however_often_and_whatever_the_settings(
    numbered: Any,
    stops: list[int],
    strategy: str,
    accumulation: int,
    logging_steps: int,
    save_steps: int,
    schedule: str,
) -> None:
    same_in_the_end(
        numbered(),
        stops,
        train_sampling_strategy=strategy,
        gradient_accumulation_steps=accumulation,
        logging_steps=logging_steps,
        save_steps=save_steps,
        lr_scheduler_type=schedule,
        warmup_steps=2.0,
    )


def test_rows_grouped_by_length_go_on_in_the_order_of_their_epoch_where_ranks_share_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the first of two ranks gets: three batches an epoch, of which the fifth is inside the second.
    first_of_two = partial(accelerator.prepare_data_loader, num_processes=2, process_index=0)
    monkeypatch.setattr(
        accelerator,
        "prepare_data_loader",
        lambda *loader, num_processes, process_index, **options: first_of_two(*loader, **options),
    )
    same_in_the_end(tmp_path, [5], train_sampling_strategy="group_by_length", gradient_accumulation_steps=1)


def test_a_training_that_had_ended_makes_no_step_more(tmp_path: Path) -> None:
    whole, output, _ = attempt(tmp_path)
    again, again_output, steps = attempt(tmp_path)
    assert steps == 0
    assert what_is_left(again, again_output) == what_is_left(whole, output)


def test_the_run_time_is_that_of_all_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of, _, _ = attempt(tmp_path, 4)
    monkeypatch.setattr(type(of._earlier), "read", classmethod(lambda cls, *_: cls(seconds=1000.0)))
    _, output, _ = attempt(tmp_path)
    assert output.metrics["train_runtime"] > 1000
    assert output.metrics["train_steps_per_second"] == pytest.approx(STEPS / 1000, rel=0.01)

"""The best checkpoint, early stopping, and going on with both after an interruption."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from models import same_weights
from unit.training.validated import prepared_run, trained

from rankfold.errors import RecipeError, StoppedError
from rankfold.lifeline import Lifeline
from rankfold.run_folder import RunFolder
from rankfold.training.callbacks import ProgressCallback
from rankfold.training.validation import Validation

NewRun = Callable[..., RunFolder]
Script = Callable[[Sequence[float]], None]


@pytest.fixture
def new(encoder_folder: Path, tmp_path: Path) -> NewRun:
    """Prepare a question answering run of ten steps, evaluated every two."""

    def build(name: str = "", *, adapter: Any = None, **train: Any) -> RunFolder:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        steps = {"max_steps": 10, "eval_steps": 2, "save_steps": 100}
        return prepared_run(folder, "extractive_qa", encoder_folder, adapter=adapter, train=steps | train)

    return build


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Have the evaluations find these values one after the other, whatever the model does."""

    def write(values: Sequence[float]) -> None:
        left = iter(values)
        monkeypatch.setattr(
            Validation, "metrics", lambda self, model, lifeline: {"f1": next(left), "total": 5}
        )

    return write


def steps_saved(run: RunFolder) -> set[int]:
    return {int(path.name.removeprefix("checkpoint-")) for path in run.checkpoints.glob("checkpoint-*")}


@pytest.mark.parametrize("adapter", [None, {"r": 4}, {"method": "p_tuning", "num_virtual_tokens": 2}])
def test_the_best_model_is_kept_and_not_the_last(new: NewRun, script: Script, adapter: Any) -> None:
    script([1, 7, 3, 4, 5])
    run = new(adapter=adapter, load_best_model_at_end=True, save_total_limit=1)
    summary = trained(run)
    assert (summary["best_metric"], summary["best_step"], summary["metric_for_best_model"]) == (7, 4, "f1")
    assert steps_saved(run) == {4, 10}
    assert same_weights(run.model, run.checkpoints / "checkpoint-4")
    script([1, 7, 3, 4, 5])
    last = new("last", adapter=adapter)
    assert trained(last)["best_step"] == 4
    assert not same_weights(last.model, run.model)


def test_a_smaller_metric_may_be_the_better_one(new: NewRun, script: Script) -> None:
    script([4, 3, 1, 5, 6])
    run = new(load_best_model_at_end=True, metric_for_best_model="eval_f1", greater_is_better=False)
    assert trained(run)["best_step"] == 6


def test_checkpoints_go_by_evaluations_and_by_save_steps(new: NewRun, script: Script) -> None:
    script([1] * 5)
    run = new(load_best_model_at_end=True, save_steps=5, save_total_limit=20)
    trained(run)
    assert steps_saved(run) == {2, 4, 5, 6, 8, 10}


def test_epochs_are_evaluated_and_their_best_model_is_kept(new: NewRun, script: Script) -> None:
    script([1, 3, 2])
    epochs = {"eval_strategy": "epoch", "eval_steps": None, "max_steps": None, "num_train_epochs": 3.0}
    run = new(load_best_model_at_end=True, per_device_train_batch_size=2, save_total_limit=20, **epochs)
    summary = trained(run)
    assert [(entry["step"], entry["epoch"]) for entry in summary["eval_history"]] == [(3, 1), (6, 2), (9, 3)]
    assert summary["best_step"] == 6
    assert steps_saved(run) == {3, 6, 9}


def test_training_stops_where_nothing_gets_better_for_so_long(new: NewRun, script: Script) -> None:
    script([1, 5, 4, 5.5, 9])
    run = new(early_stopping_patience=2, early_stopping_threshold=1.0)
    summary = trained(run)
    assert summary["global_step"] == 8
    assert [entry["f1"] for entry in summary["eval_history"]] == [1, 5, 4, 5.5]


def test_every_evaluation_is_a_line_that_says_whether_it_is_the_best(
    new: NewRun, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    script([0.25, 61.23456, 61])
    trained(new(max_steps=6))
    lines = [line for line in capsys.readouterr().out.splitlines() if "  f1 " in line]
    assert lines == [
        "step 2/6  f1 0.25 (best so far)",
        "step 4/6  f1 61.23 (best so far)",
        "step 6/6  f1 61",
    ]


def test_a_metric_that_the_task_does_not_have_is_named_at_the_first_evaluation(new: NewRun) -> None:
    with pytest.raises(RecipeError) as caught:
        trained(new(metric_for_best_model="f2"))
    lines = str(caught.value).splitlines()
    start = 'train.metric_for_best_model: there is no metric "f2"; there are '
    assert lines[0].startswith(start)
    assert {"f1", "exact_match"} < set(lines[0].removeprefix(start).split(", "))
    assert lines[1] == "  → Name one of these, or validate on what it is computed from."


def test_a_schedule_that_follows_the_metric_slows_down_where_it_stops_growing(
    new: NewRun, script: Script
) -> None:
    # ReduceLROnPlateau's patience is ten evaluations.
    script([50, *range(50, 10, -1)])
    follows = {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_steps": 1, "max_steps": 14}
    rates = [entry["learning_rate"] for entry in trained(new(**follows))["log_history"]]
    assert rates[0] == 10 * rates[-1]
    script(range(41))
    rates = [entry["learning_rate"] for entry in trained(new("growing", **follows))["log_history"]]
    assert rates[0] == rates[-1]


class AskedInStep(Lifeline):
    """Asks to stop where a step is the one it waits for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        super().__init__()

        def ask(_: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step + 1 == step:
                self.ask_to_stop("time limit")

        monkeypatch.setattr(ProgressCallback, "on_step_begin", ask)


def stopped(run: RunFolder, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Train until a step and stop there, as asked."""
    with monkeypatch.context() as patched, pytest.raises(StoppedError) as caught:
        trained(run, lifeline=AskedInStep(patched, step))
    assert caught.value.where == f"step {step}"


EPOCHS = {"eval_strategy": "epoch", "eval_steps": None, "per_device_train_batch_size": 2}


# Three steps an epoch. Epoch's last step, in the middle of one, the last of all, which no epoch ends with.
@pytest.mark.parametrize("step", [3, 5, 8])
def test_a_run_stopped_at_the_end_of_an_epoch_has_evaluated_it_once(
    new: NewRun, script: Script, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    found = [5, 9, 7]
    run = new(max_steps=8, **EPOCHS)
    script(found)
    stopped(run, monkeypatch, step)
    script(found[{3: 1, 5: 1, 8: 3}[step] :])
    summary = trained(run)
    assert [(entry["step"], entry["f1"]) for entry in summary["eval_history"]] == [(3, 5), (6, 9), (8, 7)]
    assert (summary["best_step"], summary["global_step"]) == (6, 8)


def test_an_interrupted_run_remembers_its_best_model_and_its_patience(
    new: NewRun, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"load_best_model_at_end": True, "early_stopping_patience": 3}
    found = [5, 9, 8, 7, 6]
    script(found)
    whole = new("whole", **settings)
    expected = trained(whole)
    assert (expected["best_step"], expected["global_step"]) == (4, 10)
    run = new("interrupted", **settings)
    script(found)
    stopped(run, monkeypatch, 7)
    script(found[3:])
    summary = trained(run)
    for key in ("eval_history", "best_step", "best_metric", "global_step"):
        assert summary[key] == expected[key]
    assert same_weights(run.model, whole.model)


def test_a_run_that_stopped_early_and_was_not_saved_trains_no_step_more(new: NewRun, script: Script) -> None:
    run = new(early_stopping_patience=2, save_steps=2)
    script([5, 4, 3])
    summary = trained(run)
    assert steps_saved(run) == {4, 6}
    script([])
    again = trained(run)
    assert again["global_step"] == summary["global_step"] == 6
    assert again["eval_history"] == summary["eval_history"]
    assert again["train_loss"] == summary["train_loss"]

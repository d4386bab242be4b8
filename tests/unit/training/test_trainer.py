import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from models import recipe
from torch.nn import Linear, Module
from torch.optim import SGD
from transformers import TrainerCallback, TrainerControl, TrainerState

from rankfold.errors import NumericalError
from rankfold.recipe.schema import Train
from rankfold.recipe.steps import optimizer_steps
from rankfold.training.arguments import training_arguments
from rankfold.training.trainer import (
    COMPLETE_MARKER,
    CompleteMarkerCallback,
    FineTuningTrainer,
    ProgressCallback,
    newest_complete_checkpoint,
    split_groups,
)


class Line(Module):
    """The smallest model that the Trainer takes: a body and a head, with a loss of its own."""

    def __init__(self, *, nan_from: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = Linear(2, 2), Linear(2, 1)
        self.nan_from, self.calls = nan_from, 0

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        loss = self.head(self.body(x)).square().mean()
        return {"loss": loss * float("nan") if self.nan_from and self.calls >= self.nan_from else loss}


def trainer(
    folder: Path,
    model: Module,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    head_learning_rate: float | None = None,
    new_parameters: frozenset[str] = frozenset(),
    num_rows: int = 16,
    **train: Any,
) -> FineTuningTrainer:
    of = recipe("generative_ner", train={"per_device_train_batch_size": 2, "learning_rate": 0.01} | train)
    return FineTuningTrainer(
        model=model,
        args=training_arguments(of, output_dir=folder, run_id="tiny-1"),
        train_dataset=[{"x": torch.tensor([1.0, float(row)])} for row in range(num_rows)],
        data_collator=lambda rows: {"x": torch.stack([row["x"] for row in rows])},
        callbacks=[*callbacks],
        head_learning_rate=head_learning_rate,
        new_parameters=new_parameters,
    )


def rates(optimizer: torch.optim.Optimizer, model: Module) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


def test_a_head_s_parameters_move_to_groups_with_their_own_learning_rate_and_the_same_settings() -> None:
    model = Line()
    groups = [
        {"params": [model.body.weight, model.head.weight], "weight_decay": 0.1},
        {"params": [model.body.bias, model.head.bias], "weight_decay": 0.0},
    ]
    optimizer = SGD(groups, lr=0.01, momentum=0.9)
    split_groups(optimizer, {id(parameter) for parameter in model.head.parameters()}, 0.5)
    assert rates(optimizer, model) == {
        "body.weight": 0.01,
        "body.bias": 0.01,
        "head.weight": 0.5,
        "head.bias": 0.5,
    }
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays[id(model.head.weight)] == 0.1
    assert decays[id(model.head.bias)] == 0.0
    assert all(group["momentum"] == 0.9 for group in optimizer.param_groups)


def test_a_new_head_learns_at_its_own_rate_through_the_schedule(tmp_path: Path) -> None:
    model = Line()
    new = frozenset({"head.weight", "head.bias"})
    of = trainer(tmp_path, model, head_learning_rate=0.5, new_parameters=new, max_steps=4)
    of.create_optimizer_and_scheduler(4)
    seen = []
    for _ in range(3):
        seen.append(rates(of.optimizer, model))
        of.optimizer.step()
        of.lr_scheduler.step()
    for step, share in enumerate((1.0, 0.75, 0.5)):
        assert seen[step]["head.weight"] == seen[step]["head.bias"] == pytest.approx(0.5 * share)
        assert seen[step]["body.weight"] == pytest.approx(0.01 * share)


def test_without_a_rate_of_its_own_the_head_learns_as_the_rest(tmp_path: Path) -> None:
    model = Line()
    optimizer = trainer(tmp_path, model, new_parameters=frozenset({"head.weight"})).create_optimizer()
    assert set(rates(optimizer, model).values()) == {0.01}


def test_a_head_beside_an_adapter_is_known_by_its_original_name(tmp_path: Path) -> None:
    class Wrapped(Module):
        """Names as PEFT gives them."""

        def __init__(self) -> None:
            super().__init__()
            self.base_model = Module()
            self.base_model.model = Module()
            self.base_model.model.head = Module()
            self.base_model.model.head.modules_to_save = torch.nn.ModuleDict({"default": Linear(2, 1)})

    model = Wrapped()
    new = frozenset({"head.weight", "head.bias"})
    optimizer = trainer(tmp_path, model, head_learning_rate=0.5, new_parameters=new).create_optimizer()
    assert set(rates(optimizer, model).values()) == {0.5}


@pytest.mark.parametrize("nan_from", [1, 3])
def test_a_loss_that_is_no_number_ends_the_training_at_a_named_step(tmp_path: Path, nan_from: int) -> None:
    progress = ProgressCallback(tmp_path / "progress.json")
    of = trainer(tmp_path, Line(nan_from=nan_from), callbacks=[progress], logging_steps=1, max_steps=8)
    with pytest.raises(NumericalError, match="the training loss is nan") as caught:
        of.train()
    assert caught.value.where == f"step {nan_from}"


def test_a_loss_that_was_no_number_between_two_logs_is_not_averaged_away(tmp_path: Path) -> None:
    progress = ProgressCallback(tmp_path / "progress.json")
    of = trainer(tmp_path, Line(nan_from=3), callbacks=[progress], logging_steps=5, max_steps=8)
    with pytest.raises(NumericalError) as caught:
        of.train()
    assert caught.value.where == "step 5"


def test_progress_ends_at_the_last_step_with_the_last_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = ProgressCallback(tmp_path / "progress.json")
    of = trainer(tmp_path, Line(), callbacks=[progress], logging_steps=2, max_steps=4)
    of.train()
    written = json.loads((tmp_path / "progress.json").read_text())
    assert (written["stage"], written["unit"], written["step"], written["total"]) == ("train", "step", 4, 4)
    assert 0 < written["loss"] < 1000
    assert "step 4/4  loss " in capsys.readouterr().out


def test_only_the_first_rank_writes_progress(tmp_path: Path) -> None:
    progress = ProgressCallback(tmp_path / "progress.json")
    arguments = trainer(tmp_path, Line()).args
    other = TrainerState(max_steps=4, is_world_process_zero=False)
    progress.on_train_begin(arguments, other, TrainerControl())
    progress.on_step_end(arguments, other, TrainerControl())
    assert not (tmp_path / "progress.json").exists()


def test_the_marker_is_the_last_file_of_a_checkpoint(tmp_path: Path) -> None:
    class BeforeTheMarker(TrainerCallback):  # type: ignore[misc]
        """Runs after the Trainer has saved and before the marker's callback."""

        files: set[str]

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.files = {path.name for path in (tmp_path / "checkpoint-2").iterdir()}

    before = BeforeTheMarker()
    trainer(tmp_path, Line(), callbacks=[before, CompleteMarkerCallback()], save_steps=2, max_steps=2).train()
    after = {path.name for path in (tmp_path / "checkpoint-2").iterdir()}
    assert after - before.files == {COMPLETE_MARKER}
    assert {"optimizer.pt", "scheduler.pt", "trainer_state.json"} <= before.files


def checkpoint(folder: Path, step: int, *, complete: bool) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    if complete:
        (path / COMPLETE_MARKER).touch()
    return path


def test_the_newest_complete_checkpoint_is_found_by_number_and_not_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(tmp_path, 90, complete=True)
    newest = checkpoint(tmp_path, 200, complete=True)
    checkpoint(tmp_path, 1000, complete=False)
    assert newest_complete_checkpoint(tmp_path, total_steps=2000) == newest
    assert "passing over checkpoint-1000" in capsys.readouterr().out


def test_a_checkpoint_of_the_last_step_is_passed_over(tmp_path: Path) -> None:
    before = checkpoint(tmp_path, 100, complete=True)
    checkpoint(tmp_path, 200, complete=True)
    assert newest_complete_checkpoint(tmp_path, total_steps=200) == before


@pytest.mark.parametrize("names", [(), ("checkpoint-abc", "checkpoint-7.bak")])
def test_without_a_checkpoint_training_begins_at_the_beginning(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    assert newest_complete_checkpoint(tmp_path, total_steps=10) is None
    assert newest_complete_checkpoint(tmp_path / "missing", total_steps=10) is None


class PlannedSteps(TrainerCallback):  # type: ignore[misc]
    """Ends the training before its first step and keeps how many there would have been."""

    steps = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps = state.max_steps
        raise StopIteration


@pytest.mark.parametrize(
    ("num_rows", "train"),
    [
        (16, {"num_train_epochs": 3.0}),
        (17, {"num_train_epochs": 2.0}),
        (17, {"num_train_epochs": 1.5, "gradient_accumulation_steps": 4}),
        (3, {"num_train_epochs": 1.0, "gradient_accumulation_steps": 8}),
        (9, {"num_train_epochs": 0.1}),
        (100, {"max_steps": 7}),
    ],
)
def test_steps_are_counted_as_the_trainer_counts_them(
    tmp_path: Path, num_rows: int, train: dict[str, Any]
) -> None:
    planned = PlannedSteps()
    with pytest.raises(StopIteration):
        trainer(tmp_path, Line(), callbacks=[planned], num_rows=num_rows, **train).train()
    settings = Train(per_device_train_batch_size=2, **train)
    assert optimizer_steps(settings, num_rows=num_rows, world_size=1) == planned.steps

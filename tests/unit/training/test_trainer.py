from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import Linear, Module
from torch.optim import SGD
from transformers import TrainerCallback
from unit.training.line import Line, trainer

from rankfold.recipe.schema import Train
from rankfold.recipe.steps import optimizer_steps
from rankfold.training.trainer import split_groups


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


def test_a_rate_for_a_new_head_where_there_is_none_is_not_passed_over_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Line()
    optimizer = trainer(tmp_path, model, head_learning_rate=0.5).create_optimizer()
    assert "train.head_learning_rate changes nothing" in capsys.readouterr().out
    assert set(rates(optimizer, model).values()) == {0.01}


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

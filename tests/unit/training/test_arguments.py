from pathlib import Path
from typing import Any

import pytest
import torch
from models import recipe
from transformers import TrainingArguments
from unit.training.line import Line
from unit.training.line import trainer as line_trainer

from rankfold.errors import RecipeError
from rankfold.recipe.load import load_recipe
from rankfold.recipe.schema import Recipe, Train
from rankfold.task_facts import task_facts
from rankfold.training import arguments
from rankfold.training.arguments import HANDLED_ELSEWHERE, PASSED_AS_THEY_ARE, RENAMED, training_arguments

OTHER_THAN_DEFAULT = {
    "num_train_epochs": 1.5,
    "max_steps": 77,
    "learning_rate": 3e-4,
    "head_learning_rate": 1e-3,
    "per_device_train_batch_size": 3,
    "gradient_accumulation_steps": 5,
    "gradient_checkpointing": True,
    "bf16": True,
    "optim": "adafactor",
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.25,
    "weight_decay": 0.02,
    "max_grad_norm": 0.5,
    "logging_steps": 7,
    "save_steps": 13,
    "save_total_limit": 4,
    "eval_strategy": "epoch",
    "eval_steps": 11,
    "metric_for_best_model": "precision",
    "greater_is_better": False,
    "load_best_model_at_end": True,
    "early_stopping_patience": 2,
    "early_stopping_threshold": 0.5,
    "train_sampling_strategy": "group_by_length",
    "dataloader_num_workers": 2,
    "dataloader_pin_memory": False,
    "lr_scheduler_kwargs": {"num_cycles": 0.25},
    "adam_beta1": 0.8,
    "adam_beta2": 0.99,
    "adam_epsilon": 1e-6,
    "tf32": False,
    "torch_compile": True,
    "neftune_noise_alpha": 5.0,
    "label_smoothing_factor": 0.1,
    "contrastive_temperature": 0.1,
    "distillation": {"teacher": "some/teacher", "temperature": 3.0, "alpha": 0.7},
    "packing": True,
}


def built(of: Recipe, folder: Path) -> TrainingArguments:
    return training_arguments(
        of, output_dir=folder / "checkpoints", run_id="tiny-1", task=task_facts("extractive_qa")
    )


@pytest.fixture
def qwen_ner(repository: Path) -> Recipe:
    return load_recipe(repository / "recipes" / "qwen_ner.yaml").recipe


def test_every_setting_of_a_real_recipe_arrives_as_it_was_written(qwen_ner: Recipe, tmp_path: Path) -> None:
    made = built(qwen_ner, tmp_path)
    assert made.num_train_epochs == 2
    assert made.learning_rate == 1e-4
    assert made.per_device_train_batch_size == 4
    assert made.gradient_accumulation_steps == 4
    assert made.activation_checkpointing is True
    assert (made.bf16, made.fp16) == (True, False)
    assert (made.logging_steps, made.save_steps) == (10, 100)
    assert (made.optim, made.lr_scheduler_type) == ("adamw_torch", "linear")
    assert (made.warmup_steps, made.weight_decay, made.max_grad_norm) == (0, 0, 1.0)
    assert made.dataloader_num_workers == 0
    assert made.train_sampling_strategy == "group_by_length"
    assert made.max_steps == -1
    assert (made.seed, made.data_seed) == (42, 42)
    assert made.report_to == ["swanlab"]
    assert made.run_name == "tiny-1"
    assert made.output_dir == str(tmp_path / "checkpoints")


def test_zero_2_of_a_real_recipe_arrives_as_deepspeed_s_configuration(
    qwen_ner: Recipe, tmp_path: Path
) -> None:
    configuration = built(qwen_ner, tmp_path).deepspeed
    assert configuration["zero_optimization"]["stage"] == 2
    assert configuration["gradient_accumulation_steps"] == 4
    assert configuration["bf16"] == {"enabled": True}


def test_every_setting_arrives_when_none_is_at_its_default(tmp_path: Path) -> None:
    of = recipe("generative_ner", seed=7, train=OTHER_THAN_DEFAULT)
    assert of.train.model_dump().items() >= OTHER_THAN_DEFAULT.items()
    made = built(of, tmp_path)
    for name, value in OTHER_THAN_DEFAULT.items():
        if name not in HANDLED_ELSEWHERE:
            assert getattr(made, RENAMED.get(name, name)) == value, name
    assert (made.seed, made.data_seed, made.max_steps) == (7, 7, 77)


def test_the_settings_above_are_all_there_are() -> None:
    # These need a GPU, and a package; they are passed on as bf16 is.
    assert set(OTHER_THAN_DEFAULT) | {"fp16", "use_liger_kernel"} == set(Train.model_fields)


def test_liger_s_kernels_are_refused_where_they_are_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(arguments, "is_liger_kernel_available", lambda: False)
    with pytest.raises(RecipeError, match="liger-kernel is not installed"):
        built(recipe("generative_ner", train={"use_liger_kernel": True}), tmp_path)


@pytest.mark.parametrize("optimizer", ["adamw_torch_fused", "adamw_torch", "sgd"])
def test_an_optimizer_steps_on_a_cpu(optimizer: str, tmp_path: Path) -> None:
    of = line_trainer(tmp_path, Line(), optim=optimizer, max_steps=2)
    before = [parameter.clone() for parameter in of.model.parameters()]
    of.train()
    assert not any(map(torch.equal, before, of.model.parameters()))


# torch's compiler imports what torch itself calls deprecated.
@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:torch")
@pytest.mark.slow
def test_a_compiled_model_learns_what_another_does(tmp_path: Path) -> None:
    losses = []
    for compiled in (False, True):
        torch._dynamo.reset()
        of = line_trainer(
            tmp_path / str(compiled), Line(), torch_compile=compiled, max_steps=3, logging_steps=1
        )
        losses.append(of.train().training_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_setting_that_is_forgotten_fails_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rest = tuple(name for name in PASSED_AS_THEY_ARE if name != "weight_decay")
    monkeypatch.setattr(arguments, "PASSED_AS_THEY_ARE", rest)
    with pytest.raises(AssertionError, match="weight_decay"):
        built(recipe("generative_ner"), tmp_path)


def test_a_collective_may_take_longer_than_a_rank_may_stay_silent(tmp_path: Path) -> None:
    made = built(recipe("generative_ner", distributed={"timeout_min": 7}), tmp_path)
    assert made.ddp_timeout > 7 * 60


def test_the_trainer_itself_removes_no_checkpoint(tmp_path: Path) -> None:
    assert built(recipe("generative_ner", train={"save_total_limit": 1}), tmp_path).save_total_limit is None


def test_without_a_tracker_none_is_used_even_if_it_is_installed(tmp_path: Path) -> None:
    assert built(recipe("generative_ner"), tmp_path).report_to == []


def test_without_zero_there_is_no_deepspeed(tmp_path: Path) -> None:
    assert built(recipe("generative_ner"), tmp_path).deepspeed is None


def test_without_evaluations_checkpoints_go_by_save_steps_alone(tmp_path: Path) -> None:
    made = built(recipe("generative_ner", train={"save_steps": 13}), tmp_path)
    assert (made.eval_strategy, made.save_strategy, made.save_steps) == ("no", "steps", 13)
    assert made.metric_for_best_model is None


@pytest.mark.parametrize(
    ("train", "eval_steps", "saved"),
    [
        ({"eval_strategy": "steps", "eval_steps": 5}, 5, ("steps", 13)),
        ({"eval_strategy": "steps"}, 13, ("steps", 13)),
        ({"eval_strategy": "steps", "eval_steps": 5, "load_best_model_at_end": True}, 5, ("steps", 5)),
        ({"eval_strategy": "epoch", "load_best_model_at_end": True}, 13, ("epoch", 13)),
    ],
)
def test_the_best_model_is_saved_with_its_evaluation(
    tmp_path: Path, train: dict[str, Any], eval_steps: int, saved: tuple[str, int]
) -> None:
    made = built(recipe("generative_ner", train={"save_steps": 13} | train), tmp_path)
    assert (made.eval_strategy, made.eval_steps) == (train["eval_strategy"], eval_steps)
    assert (made.save_strategy, made.save_steps) == saved


@pytest.mark.parametrize(("named", "used"), [(None, "f1"), ("recall", "recall"), ("eval_recall", "recall")])
def test_the_task_s_metric_counts_unless_the_recipe_names_one(
    tmp_path: Path, named: str | None, used: str
) -> None:
    train = {"eval_strategy": "epoch", "metric_for_best_model": named}
    assert built(recipe("generative_ner", train=train), tmp_path).metric_for_best_model == used

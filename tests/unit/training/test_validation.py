"""Evaluations during training: of the same records as the one after it, and without a trace in training."""

import json
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from models import causal_model, chat_tokenizer
from ranks import on_ranks
from unit.training import two_ranks
from unit.training.methods_on_ranks import SHARD_ALL
from unit.training.validated import NUM_EXAMPLES, prepared_run, trained, validation_of

from rankfold.distributed import device
from rankfold.lifeline import Lifeline
from rankfold.modeling.load import load_trained
from rankfold.run_folder import RunFolder
from rankfold.stages.evaluate import evaluate
from rankfold.stages.merge import merge
from rankfold.training.validation import Validation, lent_for_inference

TASKS = ("extractive_qa", "generative_ner", "token_classification")
NewRun = Callable[..., RunFolder]


@pytest.fixture
def new(causal_folder: Path, encoder_folder: Path, tmp_path: Path) -> NewRun:
    """Prepare a run of a task, in a folder of its own by name."""

    def build(task: str, name: str = "", **sections: Any) -> RunFolder:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        model = causal_folder if task == "generative_ner" else encoder_folder
        return prepared_run(folder, task, model, **sections)

    return build


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def scores(evaluation: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in evaluation.items() if name not in ("step", "epoch")}


@pytest.fixture
def payloads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The records that every evaluation during training merges, of the last one."""
    kept: list[bytes] = []
    original = Validation._scores

    def remember(self: Validation, payloads: Any) -> dict[str, float]:
        kept[:] = payloads
        return original(self, payloads)

    monkeypatch.setattr(Validation, "_scores", remember)
    return kept


# Autocast in training, which the evaluation stage knows nothing of.
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_the_last_evaluation_has_the_records_and_scores_of_the_evaluation_of_the_saved_model(
    task: str, bf16: bool, new: NewRun, payloads: list[bytes]
) -> None:
    run = new(task, train={"bf16": bf16})
    last = trained(run)["eval_history"][-1]
    evaluate(run, "fine_tuned", 0, 1)
    merge(run)
    written = [path.read_bytes() for path in sorted(run.shards("fine_tuned").glob("*.bin"))]
    assert payloads == written
    assert scores(last) == numbers(json.loads(run.metrics("fine_tuned").read_text()))
    assert (last["step"], last["epoch"]) == (20, 20.0)


@pytest.mark.parametrize("task", TASKS)
def test_training_goes_the_same_way_with_and_without_evaluations(task: str, new: NewRun) -> None:
    dropout = {"config": {"attention_dropout" if task == "generative_ner" else "hidden_dropout_prob": 0.2}}
    sampling = {"do_sample": True, "temperature": 1.5}
    runs, losses = [], []
    for strategy in ("no", "steps"):
        eval_steps = 2 if strategy == "steps" else None
        train = {"max_steps": 8, "eval_strategy": strategy, "eval_steps": eval_steps}
        run = new(task, strategy, model=dropout, train=train, evaluation=sampling)
        summary = trained(run)
        runs.append(run)
        losses.append([entry["loss"] for entry in summary["log_history"]])
        assert len(summary["eval_history"]) == (4 if eval_steps else 0)
    assert losses[0] == losses[1]
    first, second = ({path.name: path.read_bytes() for path in run.model.iterdir()} for run in runs)
    assert first == second


def test_generating_during_training_uses_the_cache_that_training_does_without(
    new: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = validation_of(new("generative_ner"))
    model = causal_model(chat_tokenizer())
    model.config.use_cache = False
    lengths = set()
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.add(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    validation.metrics(model, Lifeline())
    assert 1 in lengths


def test_a_model_comes_back_as_it_was_lent() -> None:
    model = causal_model(chat_tokenizer()).train()
    under_autocast = MethodType(lambda self: "autocast", model)
    model.forward = under_autocast
    generation, state = model.generation_config, torch.get_rng_state()
    with lent_for_inference(model) as lent:
        assert lent is model
        assert not model.model.layers[0].training
        assert model.forward != under_autocast
        model.generation_config = None
        torch.manual_seed(1)
    assert model.model.layers[0].training
    assert model.forward == under_autocast
    assert model.generation_config is generation
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_two_ranks_score_what_one_does_and_agree(new: NewRun, tmp_path: Path) -> None:
    train = {"per_device_train_batch_size": 2, "max_steps": 8, "eval_steps": 4}
    runs = {task: new(task, task, train=train) for task in TASKS}
    # Training goes on after an evaluation that has gathered the weights for itself.
    at_once = {"max_new_tokens": 2, "unit_size": NUM_EXAMPLES, "per_device_eval_batch_size": NUM_EXAMPLES}
    runs["zero3"] = new(
        "generative_ner",
        "zero3",
        train=train | {"max_steps": 2, "eval_steps": 1},
        evaluation=at_once,
        distributed={"strategy": "zero3", **SHARD_ALL},
    )
    on_ranks(2, two_ranks.train, tmp_path, list(runs.values()))
    for task, run in runs.items():
        first, second = (json.loads((run.root / f"rank{rank}.json").read_text()) for rank in (0, 1))
        assert first["eval_history"] == second["eval_history"]
        assert (first["best_step"], first["best_metric"]) == (second["best_step"], second["best_metric"])
        alone = scores_of_saved_model(run)
        assert alone == scores(first["eval_history"][-1])
        assert alone["total" if task == "extractive_qa" else "num_examples"] == NUM_EXAMPLES


def scores_of_saved_model(run: RunFolder) -> dict[str, float]:
    """What this process alone finds."""
    validation = validation_of(run)
    settings, task = validation.recipe.model, validation.task
    base, config = Path(settings.name_or_path), task.model_config(validation.labels)
    model = load_trained(base, run.model, settings, task.auto_class, config)
    return validation.metrics(model.to(device()), Lifeline())


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize("task", ["extractive_qa", "generative_ner"])
def test_a_model_with_an_adapter_is_evaluated_and_learns(
    task: str, gradient_checkpointing: bool, new: NewRun
) -> None:
    adapter = {"r": 4, "lora_alpha": 16, "target_modules": "all-linear"}
    train = {"gradient_checkpointing": gradient_checkpointing, "max_steps": 6, "eval_steps": 2}
    summary = trained(new(task, adapter=adapter, train=train))
    losses = [entry["loss"] for entry in summary["log_history"]]
    assert losses[-1] < losses[0]
    assert len(summary["eval_history"]) == 3

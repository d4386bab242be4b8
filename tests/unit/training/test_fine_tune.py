"""Whole training runs of a tiny language model, each a few steps long."""

import json
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from models import absolute_causal_model, chat_tokenizer, recipe, same_weights, save
from torch.nn.functional import cross_entropy

from rankfold.data.examples import Answer, EntityExample, QuestionExample, Span
from rankfold.errors import ModelError, OperationalError
from rankfold.modeling.load import load_model, load_tokenizer, load_trained
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder
from rankfold.tasks.base import Task
from rankfold.tasks.extractive_qa import ExtractiveQA
from rankfold.tasks.generative_ner import GenerativeNER
from rankfold.training.callbacks import ProgressCallback
from rankfold.training.fine_tune import fine_tune
from rankfold.training.trainer import FineTuningTrainer

CAUSAL = "AutoModelForCausalLM"
TEXTS = [
    EntityExample(name, f"{name} lives in Ulm.", (Span(0, len(name), "person"),))
    for name in ("Anna", "Paul", "Keller", "Who", "Sonne", "Ulm")
]
QUESTIONS = [
    QuestionExample(str(i), "Where?", f"{i} Anna lives in Ulm.", (Answer("Ulm", 16),)) for i in range(6)
]


def settings(base: Path, **train: Any) -> Recipe:
    steps = {
        "max_steps": 8,
        "learning_rate": 0.01,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_steps": 3,
    }
    # Dropout, so that resuming has to bring the random state back.
    model = {"config": {"attention_dropout": 0.2}}
    return recipe("generative_ner", base, model=model, train=steps | train)


def trained(
    folder: Path, of: Recipe, *, task: Task[Any] | None = None, examples: Any = TEXTS, world_size: int = 1
) -> dict[str, Any]:
    task = task or GenerativeNER()
    base = Path(of.model.name_or_path)
    tokenizer = load_tokenizer(base)
    features = task.training_features(examples, tokenizer, of, ("person",))
    return fine_tune(
        RunFolder(folder),
        of,
        task,
        base=base,
        tokenizer=tokenizer,
        labels=("person",),
        validation=None,
        features=Dataset.from_dict(features.columns),
        world_size=world_size,
    )


@pytest.fixture(scope="module")
def whole(causal_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    """A run that nothing interrupted, and its summary."""
    run = RunFolder(tmp_path_factory.mktemp("whole"))
    return run, trained(run.root, settings(causal_folder))


def test_the_loss_goes_down(whole: tuple[RunFolder, dict[str, Any]]) -> None:
    losses = [entry["loss"] for entry in whole[1]["log_history"]]
    assert len(losses) == 8
    assert losses[-1] < losses[0] / 2


def test_the_summary_says_what_was_done(whole: tuple[RunFolder, dict[str, Any]], causal_folder: Path) -> None:
    summary = whole[1]
    size = sum(
        p.numel() for p in load_model(causal_folder, settings(causal_folder).model, CAUSAL).model.parameters()
    )
    assert (summary["global_step"], summary["world_size"], summary["global_batch_size"]) == (8, 1, 2)
    assert (summary["trainable_parameters"], summary["total_parameters"]) == (size, size)
    assert summary["train_runtime_s"] > 0
    assert summary["train_samples_per_second"] > 0
    assert summary["train_loss"] == pytest.approx(
        sum(entry["loss"] for entry in summary["log_history"]) / 8, rel=1e-3
    )
    assert {"step", "epoch", "loss", "learning_rate", "grad_norm"} <= summary["log_history"][0].keys()
    json.dumps(summary, allow_nan=False)


def test_the_model_folder_loads_and_has_learned(
    whole: tuple[RunFolder, dict[str, Any]], causal_folder: Path
) -> None:
    run, _ = whole
    of = settings(causal_folder)
    model = load_trained(causal_folder, run.model, of.model, CAUSAL).eval()
    task, tokenizer = GenerativeNER(), load_tokenizer(run.model)
    columns = task.training_features(TEXTS, tokenizer, of, ("person",)).columns
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    batch = task.collate(rows, tokenizer)
    before = load_model(causal_folder, of.model, CAUSAL).model.eval()
    with torch.inference_mode():
        assert model(**batch).loss < before(**batch).loss / 2


def test_a_trained_model_generates_with_a_cache_as_the_one_it_came_from(
    whole: tuple[RunFolder, dict[str, Any]],
) -> None:
    assert json.loads((whole[0].model / "config.json").read_text())["use_cache"] is True


def test_a_run_that_was_interrupted_ends_with_the_same_weights(
    whole: tuple[RunFolder, dict[str, Any]],
    causal_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = ProgressCallback.on_step_end
    steps: list[int] = []

    def killed_once_at_step_5(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        original(self, args, state, control, **kwargs)
        steps.append(state.global_step)
        if len(steps) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressCallback, "on_step_end", killed_once_at_step_5)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, settings(causal_folder))
    assert not RunFolder(tmp_path).model.exists()
    summary = trained(tmp_path, settings(causal_folder))
    assert steps == [1, 2, 3, 4, 5, 4, 5, 6, 7, 8]  # from the checkpoint of step 3
    assert [entry["loss"] for entry in summary["log_history"]] == [
        entry["loss"] for entry in whole[1]["log_history"]
    ]
    assert same_weights(RunFolder(tmp_path).model, whole[0].model)


def test_another_seed_gives_other_weights(
    whole: tuple[RunFolder, dict[str, Any]], causal_folder: Path, tmp_path: Path
) -> None:
    other = settings(causal_folder).model_copy(update={"seed": 7})
    trained(tmp_path, other)
    assert not same_weights(RunFolder(tmp_path).model, whole[0].model)


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_an_adapter_learns_with_frozen_embeddings_and_is_saved_alone(
    causal_folder: Path, tmp_path: Path, gradient_checkpointing: bool
) -> None:
    of = recipe(
        "generative_ner",
        causal_folder,
        model={"adapter": {"r": 4, "lora_alpha": 16, "target_modules": "all-linear"}},
        train={
            "max_steps": 6,
            "learning_rate": 0.02,
            "logging_steps": 1,
            "gradient_checkpointing": gradient_checkpointing,
        },
    )
    summary = trained(tmp_path, of)
    losses = [entry["loss"] for entry in summary["log_history"]]
    assert losses[-1] < losses[0]
    assert summary["trainable_parameters"] < summary["total_parameters"] / 2
    assert {path.name for path in RunFolder(tmp_path).model.glob("*.safetensors")} == {
        "adapter_model.safetensors"
    }


@pytest.mark.parametrize("adapter", [None, {"r": 4}])
def test_a_new_head_is_trained_and_saved_with_and_without_an_adapter(
    encoder_folder: Path, tmp_path: Path, adapter: dict[str, Any] | None
) -> None:
    of = recipe(
        "extractive_qa",
        encoder_folder,
        model={"adapter": adapter},
        data={"max_length": 40, "doc_stride": 8},
        train={"max_steps": 6, "learning_rate": 1e-3, "head_learning_rate": 0.1, "logging_steps": 1},
    )
    summary = trained(tmp_path, of, task=ExtractiveQA(), examples=QUESTIONS)
    losses = [entry["loss"] for entry in summary["log_history"]]
    assert losses[-1] < losses[0]
    heads = []
    for seed in (1, 2):  # a head that was not saved would come out of the seed
        torch.manual_seed(seed)
        model = load_trained(encoder_folder, RunFolder(tmp_path).model, of.model, ExtractiveQA.auto_class)
        heads.append(model.get_parameter("qa_outputs.weight"))
    assert torch.equal(*heads)


def test_a_new_head_starts_from_the_recipe_s_seed_whatever_was_drawn_before(
    encoder_folder: Path, tmp_path: Path
) -> None:
    of = recipe(
        "extractive_qa",
        encoder_folder,
        model={"adapter": {"r": 4}},
        data={"max_length": 40, "doc_stride": 8},
        train={"max_steps": 1},
    )
    for name in ("one", "other"):
        torch.manual_seed(len(name))
        trained(tmp_path / name, of, task=ExtractiveQA(), examples=QUESTIONS)
    assert same_weights(RunFolder(tmp_path / "one").model, RunFolder(tmp_path / "other").model)


def test_ranks_that_do_not_see_each_other_are_refused(causal_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="this rank sees 1 ranks, but the job has 4"):
        trained(tmp_path, settings(causal_folder), world_size=4)


def test_a_decoder_without_weights_for_the_task_is_not_trained(causal_folder: Path, tmp_path: Path) -> None:
    of = recipe("extractive_qa", causal_folder, data={"max_length": 40, "doc_stride": 8})
    with pytest.raises(ModelError, match="are not in"):
        trained(tmp_path, of, task=ExtractiveQA(), examples=QUESTIONS)


def test_a_language_model_s_smoothing_is_over_the_positions_before_the_labels(tmp_path: Path) -> None:
    # transformers does not know of GPT-2 that its loss is that of a causal language model.
    tokenizer, task = chat_tokenizer(), GenerativeNER()
    base = save(absolute_causal_model(tokenizer), tokenizer, tmp_path / "base")
    of = recipe(
        "generative_ner",
        base,
        model={"config": {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}},
        train={
            "max_steps": 1,
            "per_device_train_batch_size": len(TEXTS),
            "logging_steps": 1,
            "label_smoothing_factor": 0.3,
        },
    )
    features = task.training_features(TEXTS, tokenizer, of, ("person",))
    batch = task.collate(Dataset.from_dict(features.columns).to_list(), tokenizer)
    with torch.inference_mode():
        logits = load_model(base, of.model, CAUSAL).model(**batch).logits[:, :-1]
    expected = cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), label_smoothing=0.3)
    (first,) = trained(tmp_path / "run", of)["log_history"]
    assert first["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_what_makes_batches_can_be_sent_to_processes_that_are_not_forked(
    causal_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []

    def send(self: FineTuningTrainer, **options: Any) -> None:
        sent.append(bytes(ForkingPickler.dumps(self.data_collator)))
        raise KeyboardInterrupt

    monkeypatch.setattr(FineTuningTrainer, "train", send)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, settings(causal_folder))
    assert b"GenerativeNER" in sent[0]

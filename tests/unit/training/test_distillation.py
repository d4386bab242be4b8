"""Learning from a teacher: what the loss is, what it does to a student, and whom it refuses as teachers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from models import encoder_model, recipe, same_weights, save
from torch.nn.functional import kl_div, log_softmax
from unit.training.test_fine_tune import QUESTIONS, TEXTS

from rankfold.errors import ModelError
from rankfold.modeling.load import load_model, load_tokenizer, load_trained
from rankfold.recipe.schema import Adapter, Distillation, Model, Recipe
from rankfold.run_folder import RunFolder
from rankfold.tasks.base import Task
from rankfold.tasks.extractive_qa import ExtractiveQA
from rankfold.tasks.generative_ner import GenerativeNER
from rankfold.tasks.token_classification import TokenClassification
from rankfold.training.distillation import distilled
from rankfold.training.fine_tune import fine_tune

LABELS = ("person",)
TASKS: dict[str, tuple[Task[Any], Any]] = {
    "generative_ner": (GenerativeNER(), TEXTS),
    "token_classification": (TokenClassification(), TEXTS),
    "extractive_qa": (ExtractiveQA(), QUESTIONS),
}


class Fixed(torch.nn.Module):
    """Says the same logits whatever it is asked."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)
        self.device = torch.device("cpu")


def fixed_loss(model: Any, batch: Any) -> Any:
    output = SimpleNamespace(logits=model.logits)
    return torch.nn.functional.cross_entropy(model.logits.flatten(0, -2), batch["labels"].flatten()), output


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loss_is_the_mean_divergence_over_the_items_that_have_a_label(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = Fixed(torch.randn(2, 4, 5)), Fixed(torch.randn(2, 4, 5))
    labels = torch.tensor([[1, -100, 3, 0], [-100, -100, 2, 2]])
    settings = Distillation(teacher="unread", temperature=temperature, alpha=0.25)
    loss = distilled(fixed_loss, teacher, settings, shifts_labels=False)
    found, _ = loss(student, {"labels": labels})
    counted = labels != -100
    parts = [log_softmax(one.logits[counted] / temperature, dim=-1) for one in (student, teacher)]
    divergence = kl_div(parts[0], parts[1], reduction="batchmean", log_target=True)
    plain, _ = fixed_loss(student, {"labels": labels})
    torch.testing.assert_close(found, 0.75 * plain + 0.25 * temperature**2 * divergence)
    torch.autograd.backward(found)
    assert student.logits.grad is not None
    assert teacher.logits.grad is None
    assert not teacher.training


def test_a_language_model_s_label_is_that_of_the_position_before() -> None:
    torch.manual_seed(0)
    student, teacher = Fixed(torch.randn(1, 3, 5)), Fixed(torch.randn(1, 3, 5))
    labels = torch.tensor([[-100, 1, -100]])
    settings = Distillation(teacher="unread", alpha=1.0, temperature=1.0)
    found, _ = distilled(fixed_loss, teacher, settings, shifts_labels=True)(student, {"labels": labels})
    parts = [log_softmax(one.logits[0, :1], dim=-1) for one in (student, teacher)]
    torch.testing.assert_close(found, kl_div(parts[0], parts[1], reduction="batchmean", log_target=True))


def settings(task: str, base: Path, teacher: Path | None, alpha: float = 1.0, **train: Any) -> Recipe:
    steps = {"max_steps": 8, "learning_rate": 0.01, "per_device_train_batch_size": 6, "logging_steps": 1}
    distillation = {"teacher": str(teacher), "alpha": alpha} if teacher else None
    data = {"max_length": 40, "doc_stride": 8} if task == "extractive_qa" else {}
    return recipe(
        task,
        base,
        data=data,
        # Dropout, so that a random state that the teacher moved would show.
        model={"config": {"attention_dropout": 0.2}} if task == "generative_ner" else {},
        train={**steps, "distillation": distillation, **train},
    )


def trained(folder: Path, of: Recipe) -> tuple[RunFolder, dict[str, Any]]:
    task, examples = TASKS[of.task]
    base = Path(of.model.name_or_path)
    tokenizer = load_tokenizer(base)
    features = task.training_features(examples, tokenizer, of, LABELS)
    run = RunFolder(folder)
    summary = fine_tune(
        run,
        of,
        task,
        base=base,
        tokenizer=tokenizer,
        features=Dataset.from_dict(features.columns),
        world_size=1,
        labels=LABELS,
    )
    return run, summary


@pytest.fixture
def bases(causal_folder: Path, encoder_folder: Path) -> dict[str, Path]:
    return dict.fromkeys(TASKS, encoder_folder) | {"generative_ner": causal_folder}


@pytest.mark.parametrize("task", TASKS)
def test_a_student_comes_closer_to_its_teacher_and_without_a_share_is_as_without_one(
    task: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    teacher, _ = trained(tmp_path / "teacher", settings(task, bases[task], None, max_steps=4))
    before = (teacher.model / "model.safetensors").read_bytes()
    _, summary = trained(tmp_path / "student", settings(task, bases[task], teacher.model))
    losses = [entry["loss"] for entry in summary["log_history"]]
    # With alpha 1 the loss is the divergence, of all examples in every step.
    assert losses[-1] < losses[0] / 2
    assert (teacher.model / "model.safetensors").read_bytes() == before
    alone, _ = trained(tmp_path / "alone", settings(task, bases[task], None, max_steps=3))
    ignoring, _ = trained(tmp_path / "ignoring", settings(task, bases[task], teacher.model, 0.0, max_steps=3))
    assert same_weights(alone.model, ignoring.model)


def test_a_teacher_s_own_head_size_is_a_mistake_that_names_both_models_labels(
    encoder_folder: Path, tmp_path: Path
) -> None:
    names = {
        "id2label": {0: "O", 1: "B-place", 2: "I-place"},
        "label2id": {"O": 0, "B-place": 1, "I-place": 2},
    }
    of = Model(name_or_path="unread")
    other = load_model(encoder_folder, of, "AutoModelForTokenClassification", names).model
    folder = save(other, load_tokenizer(encoder_folder), tmp_path / "teacher")
    with pytest.raises(ModelError, match=r"labels are O, B-place, I-place, the student's O, B-person"):
        trained(tmp_path / "run", settings("token_classification", encoder_folder, folder))


def test_a_teacher_without_a_head_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no qa_outputs\.bias, so it cannot teach extractive_qa"):
        trained(tmp_path, settings("extractive_qa", encoder_folder, encoder_folder))


def test_a_teacher_with_other_tokens_is_refused(
    bases: dict[str, Path], causal_folder: Path, tmp_path: Path
) -> None:
    teacher, _ = trained(
        tmp_path / "teacher", settings("extractive_qa", bases["extractive_qa"], None, max_steps=1)
    )
    file = teacher.model / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    one, other = sorted(vocabulary)[-2:]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="reads text in other tokens"):
        trained(tmp_path / "run", settings("extractive_qa", bases["extractive_qa"], teacher.model))


def test_an_adapter_learns_from_a_larger_teacher(encoder_folder: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    tokenizer = load_tokenizer(encoder_folder)
    save(encoder_model(tokenizer, kind="distilbert"), tokenizer, small)
    teacher, _ = trained(tmp_path / "teacher", settings("extractive_qa", encoder_folder, None))
    of = settings("extractive_qa", small, teacher.model, learning_rate=0.02)
    of = of.model_copy(update={"model": of.model.model_copy(update={"adapter": Adapter(r=4)})})
    run, summary = trained(tmp_path / "student", of)
    losses = [entry["loss"] for entry in summary["log_history"]]
    assert losses[-1] < losses[0]
    load_trained(small, run.model, of.model, ExtractiveQA.auto_class)

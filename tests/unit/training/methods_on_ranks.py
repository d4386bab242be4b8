"""What test_methods_on_ranks.py trains, on one rank and on two: methods and tasks, with a tiny model each."""

import copy
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset
from merged import predicted
from models import CORPUS, recipe
from safetensors.torch import load_file
from unit.training.strategies import _forget_the_run

from rankfold.data.examples import (
    ChatExample,
    ChoiceExample,
    DocumentExample,
    Message,
    SequencePairExample,
    TextExample,
    TextPairExample,
)
from rankfold.modeling.load import load_tokenizer, load_trained
from rankfold.nbest.units import Unit
from rankfold.ranks import ranks
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder
from rankfold.tasks.registry import load_task
from rankfold.training.fine_tune import fine_tune
from rankfold.training.save import _gathered, save_model
from rankfold.training.validation import lent_for_inference

STEPS = 4
RANKS = 2
LABELS = ("person", "place", "river")
VIRTUAL = ("prefix_tuning", "prompt_tuning", "p_tuning")
# Of unequal lengths: a mean over ranks would not be one over tokens.
TEXTS = [" ".join(text.split()[: 3 + index]) for index, text in enumerate(CORPUS[:4] * 2)]
DOCUMENTS = [DocumentExample(text, text) for text in TEXTS]
EXAMPLES: Mapping[str, Sequence[Any]] = {
    "denoising": DOCUMENTS,
    "masked_lm": DOCUMENTS,
    "instruction": [
        ChatExample(text, (Message("user", text), Message("assistant", text[: 3 + 5 * (index % 3)])))
        for index, text in enumerate(TEXTS)
    ],
    "seq2seq": [SequencePairExample(text, text, text[: 4 + 7 * (i % 3)]) for i, text in enumerate(TEXTS)],
    "multiple_choice": [
        ChoiceExample(text, text, ("Ulm", "the sea", "old")[: 2 + i % 2], i % 2)
        for i, text in enumerate(TEXTS)
    ],
    "embedding": [TextPairExample(text, text, CORPUS[i % 4]) for i, text in enumerate(TEXTS)],
    "text_classification": [TextExample(t, t, labels=(LABELS[i % 3],)) for i, t in enumerate(TEXTS)],
}

# Ranks draw other masks than a single one does.
WITHOUT_DROPOUT: Mapping[str, dict[str, Any]] = {
    "causal": {},
    "t5": {"dropout_rate": 0.0},
    "switch": {"dropout_rate": 0.0, "router_jitter_noise": 0.0},
    "bert": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "longformer": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}
# Small weights would be whole on every rank otherwise.
SHARD_ALL = {"deepspeed": {"zero_optimization": {"stage3_param_persistence_threshold": 0}}}


@dataclass(frozen=True)
class Case:
    """A training: which model learns what, and how.

    Attributes:
        base: Which of the tiny models.
        task: The task.
        method: An adapter's, or `full`.
        strategy: On several ranks.
        model: More of the recipe's `model`.
        train: More of its `train`.
        learns_from: Folder of a teacher.
    """

    base: str
    task: str
    method: str = "full"
    strategy: str = "ddp"
    model: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    learns_from: str | None = None


def settings(case: Case, bases: Path, **train: Any) -> Recipe:
    """The recipe of a case, for as many ranks as there are."""
    adapter: dict[str, Any] = {"method": case.method}
    if case.method in VIRTUAL:
        adapter["num_virtual_tokens"] = 4
    distributed: dict[str, Any] = {"strategy": case.strategy if ranks().world_size > 1 else "none"}
    steps: dict[str, Any] = {
        "max_steps": STEPS,
        "learning_rate": 0.01,
        "per_device_train_batch_size": 1,
        "logging_steps": 1,
    }
    if case.learns_from is not None:
        steps["distillation"] = {"teacher": str(bases / case.learns_from)}
    return recipe(
        case.task,
        bases / case.base,
        model={"adapter": adapter, "config": WITHOUT_DROPOUT[case.base], **case.model},
        train={**steps, **case.train, **train},
        data={"max_length": 48},
        evaluation={"max_new_tokens": 6},
        distributed=distributed | (SHARD_ALL if distributed["strategy"] == "zero3" else {}),
    )


def trained(folder: Path, case: Case, bases: Path, **train: Any) -> dict[str, Any]:
    """Train; return the losses, what the model in memory says of all examples, and what was frozen."""
    of, base = settings(case, bases, **train), bases / case.base
    task, tokenizer = load_task(case.task), load_tokenizer(base)
    features = task.training_features(EXAMPLES[case.task], tokenizer, of, LABELS)
    found: dict[str, Any] = {}

    def save(trainer: Any, *arguments: Any) -> None:
        save_model(trainer, *arguments)
        found["frozen"] = frozen(trainer.model, base)
        with as_loaded(trainer.model, case) as model:
            found["records"] = records(model, case, bases).hex()

    with patch("rankfold.training.fine_tune.save_model", save):
        summary = fine_tune(
            RunFolder(folder),
            of,
            task,
            base=base,
            tokenizer=tokenizer,
            features=Dataset.from_dict(features.columns),
            world_size=ranks().world_size,
            labels=LABELS,
        )
    return found | {"losses": [entry["loss"] for entry in summary["log_history"]]}


@contextmanager
def as_loaded(model: Any, case: Case) -> Iterator[Any]:
    """The model in memory as `load_trained` makes it of what was saved."""
    if case.method not in ("full", *VIRTUAL) and case.strategy != "zero3":
        # Merging changes last bits.
        yield copy.deepcopy(model).merge_and_unload().eval()
        return
    with lent_for_inference(model) as lent:
        yield lent


def records(model: Any, case: Case, bases: Path) -> bytes:
    """What the evaluation would write of all examples."""
    task, of, tokenizer = load_task(case.task), settings(case, bases), load_tokenizer(bases / case.base)
    columns = task.evaluation_features(EXAMPLES[case.task], tokenizer, of, LABELS).columns
    features = Dataset.from_dict(columns)
    return predicted(task, model, tokenizer, features, Unit(0, 0, len(features)), of)


def reloaded(folder: Path, case: Case, bases: Path) -> Any:
    """The model that a run has left."""
    torch.manual_seed(1)  # A head that was not saved would be another one.
    task, of = load_task(case.task), settings(case, bases)
    return load_trained(
        bases / case.base, RunFolder(folder).model, of.model, task.auto_class, task.model_config(LABELS)
    ).eval()


def frozen(model: Any, base: Path) -> dict[str, bool]:
    """Each frozen weight that the base model's file has → whether it is bit by bit as it was there."""
    weights, found = load_file(base / "model.safetensors"), {}
    for name, parameter in model.named_parameters():
        plain = name.replace(".base_layer", "").replace(".original_module", "")
        # A model without a head has shorter names.
        theirs = [known for known in weights if f".{plain}".endswith(f".{known}")]
        if theirs and not parameter.requires_grad:
            with _gathered(parameter):
                found[name] = torch.equal(parameter.detach(), weights[max(theirs, key=len)])
    return found


def train_each(folder: Path, cases: Mapping[str, Case], bases: Path) -> None:
    """Every case on all ranks, one after the other; rank 0 leaves what was found."""
    # Accelerate takes a group it has not made for several machines' otherwise.
    os.environ["LOCAL_WORLD_SIZE"] = os.environ["WORLD_SIZE"]
    for name, case in cases.items():
        found = trained(folder / name, case, bases)
        if ranks().is_main:
            (folder / f"{name}.json").write_text(json.dumps(found))
        _forget_the_run()

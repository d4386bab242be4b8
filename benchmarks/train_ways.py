"""The ways of fine-tuning that train.py compares: each in a process of its own, which takes turns."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn import Module
from train_jobs import (
    LEARNING_RATE,
    PACKED_LENGTH,
    QA_BATCH,
    RECOMPUTING,
    SFT_ACCUMULATED,
    SFT_BATCH,
    TUTORIAL_LENGTH,
    Job,
    Row,
    Setup,
    rows_of,
    set_up,
)
from train_scores import answer_f1, answer_loss, generate_by_turns
from train_turns import Turns, tell
from transformers import (
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from rankfold.data.chat import prompt_ids
from rankfold.data.examples import EntityExample
from rankfold.data.features import Features
from rankfold.data.packing import pack
from rankfold.entities.prompt import messages, wording
from rankfold.modeling.adapters import add_adapter
from rankfold.modeling.load import load_model
from rankfold.modeling.sources import model_folder
from rankfold.recipe.schema import Recipe
from rankfold.training.arguments import training_arguments
from rankfold.training.trainer import FineTuningTrainer


def train_and_score(job: Job) -> None:
    """One process: train by turns, evaluate, and where the task generates, generate by turns."""
    setup = set_up(job)
    recipe, task, tokenizer, splits = setup.recipe, setup.task, setup.tokenizer, setup.splits
    set_seed(recipe.seed)
    loaded = load_model(
        model_folder(recipe.model), recipe.model, task.auto_class, task.model_config(splits.labels)
    )
    model = loaded.model
    features = task.training_features(splits.train, tokenizer, recipe, splits.labels)
    if recipe.model.trained_adapter is not None:
        if job.way == RECOMPUTING:
            model.enable_input_require_grads()
        model = add_adapter(model, recipe.model.trained_adapter, task.peft_task_type)
    with tempfile.TemporaryDirectory() as folder:
        if job.is_tutorial:
            trainer = tutorial_trainer(setup, model, features, Path(folder))
        else:
            trainer = our_trainer(setup, model, features, Path(folder), loaded.new_parameters)
        trainer.add_callback(Turns())
        trainer.train()
    model.eval().float()
    tell(**(answer_f1(setup, model) if job.task == "qa" else answer_loss(setup, model)))
    if job.task == "sft":
        words, examples = wording(recipe.prompt), cast(Sequence[EntityExample], splits.test)
        texts = [prompt_ids(tokenizer, messages(one.text, splits.labels, words)) for one in examples]
        generate_by_turns(setup, loaded.model, texts)


def tutorial_trainer(setup: Setup, model: Module, features: Features, folder: Path) -> Trainer:
    """transformers' Trainer as its examples use it."""
    rows, job, tokenizer = rows_of(features), setup.job, setup.tokenizer
    qa = job.task == "qa"
    if qa:
        rows = [padded(row, int(tokenizer.pad_token_id)) for row in rows]
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=QA_BATCH if qa else SFT_BATCH,
        gradient_accumulation_steps=1 if qa else SFT_ACCUMULATED,
        num_train_epochs=job.epochs,
        learning_rate=LEARNING_RATE[job.task],
        seed=setup.recipe.seed,
        activation_checkpointing=job.way == RECOMPUTING,
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
    )
    collate = default_data_collator if qa else DataCollatorForSeq2Seq(tokenizer)
    return Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)


def our_trainer(
    setup: Setup, model: Module, features: Features, folder: Path, new_parameters: frozenset[str]
) -> Trainer:
    """What the train stage builds, without checkpoints."""
    recipe, task = setup.recipe, setup.task
    if setup.job.task == "sft" and torch.cuda.is_available():
        # Attention on CPUs computes what stands between two examples of a row too.
        recipe, features = packed(recipe, features)
    return FineTuningTrainer(
        model=model,
        args=training_arguments(recipe, output_dir=folder, run_id="benchmark", task=task.facts),
        loss=task.loss,
        num_items=task.num_items,
        shifts_labels=task.auto_class == "AutoModelForCausalLM",
        loss_couples_rows=task.loss_couples_rows,
        train_dataset=rows_of(features),
        data_collator=lambda rows: task.collate(rows, setup.tokenizer),
        head_learning_rate=recipe.train.head_learning_rate,
        new_parameters=new_parameters,
        save_total_limit=1,
    )


def packed(recipe: Recipe, features: Features) -> tuple[Recipe, Features]:
    """Rows that hold several examples, and a recipe that takes about as many examples a step as before."""
    rows = pack(features, PACKED_LENGTH)
    rows_a_step = max(1, round(SFT_BATCH * SFT_ACCUMULATED * len(rows) / len(features)))
    accumulated = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": rows_a_step}
    train = recipe.train.model_copy(update=accumulated)
    return recipe.model_copy(update={"train": train}), rows


def padded(row: Row, pad_id: int) -> dict[str, Any]:
    """A window filled up to the tutorial's length, as `padding="max_length"` leaves it."""
    missing = TUTORIAL_LENGTH - len(row["input_ids"])
    fill = {"input_ids": pad_id, "token_type_ids": 0}
    filled = {
        name: [*value, *[fill[name]] * missing] if name in fill else value for name, value in row.items()
    }
    return {**filled, "attention_mask": [1] * len(row["input_ids"]) + [0] * missing}


if __name__ == "__main__":
    # Whatever else is printed must not come between the lines of the protocol.
    sys.stdout = sys.stderr
    train_and_score(Job(**json.loads(sys.argv[1])))

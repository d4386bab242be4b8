"""What test_items.py trains: tasks of every kind, on rows that hold very unequal numbers of items."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from models import chat_tokenizer, recipe
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from unit.training.strategies import _forget_the_run

from rankfold.data.collate import IGNORED_LABEL
from rankfold.ranks import ranks
from rankfold.tasks.registry import load_task
from rankfold.training.arguments import training_arguments
from rankfold.training.deepspeed import prepare_deepspeed
from rankfold.training.trainer import FineTuningTrainer

BATCHES = 4
"""Batches of a step: four ranks with one each, or one with four."""
STEPS = 4
CLASSES = 3
SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

Row = dict[str, Any]


def tagged(ids: list[int], index: int) -> Row:
    """Labels for a part of the tokens that grows from row to row; every fifth row has none at all."""
    learned = 0 if index % 5 == 0 else 1 + len(ids) * (index % 4) // 4
    labels = [one % CLASSES if place < learned else IGNORED_LABEL for place, one in enumerate(ids)]
    return {"input_ids": ids, "labels": labels}


def answered(ids: list[int], index: int) -> Row:
    """Later tokens are an answer, of another length in each row; every fifth row has none."""
    prompt = len(ids) if index % 5 == 0 else len(ids) * (index % 4) // 4
    return {"input_ids": ids, "labels": [IGNORED_LABEL] * prompt + ids[prompt:]}


def marked(ids: list[int], index: int) -> Row:
    return {"input_ids": ids, "start_positions": index % len(ids), "end_positions": (index + 1) % len(ids)}


def classified(ids: list[int], index: int) -> Row:
    return {"input_ids": ids, "labels": index % CLASSES}


ROWS: Mapping[str, Callable[[list[int], int], Row]] = {
    "generative_ner": answered,
    "token_classification": tagged,
    "extractive_qa": marked,
    "text_classification": classified,
}

CASES: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    **{task: (task, "ddp", {}) for task in ROWS},
    "smoothed tokens": ("generative_ner", "ddp", {"label_smoothing_factor": 0.3}),
    "smoothed classes": ("text_classification", "ddp", {"label_smoothing_factor": 0.3}),
    "zero2": ("generative_ner", "zero2", {}),
}
"""Name → task, strategy on several ranks, further settings."""


def model_for(task: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    torch.manual_seed(0)
    size = len(tokenizer)
    if task == "generative_ner":
        return Qwen2ForCausalLM(Qwen2Config(vocab_size=size, num_key_value_heads=2, **SHAPE))
    config = BertConfig(vocab_size=size, num_labels=CLASSES, **SHAPE, **NO_DROPOUT)
    if task == "extractive_qa":
        config.num_labels = 2
        return BertForQuestionAnswering(config)
    return {
        "token_classification": BertForTokenClassification,
        "text_classification": BertForSequenceClassification,
    }[task](config)


def curve(
    folder: Path, case: str, *, accumulated: int, batch_size: int = 1, loss_couples_rows: bool = False
) -> list[float]:
    """The losses of a training, by step."""
    task_name, strategy, settings = CASES[case]
    task, tokenizer = load_task(task_name), chat_tokenizer()
    of = recipe(
        task_name,
        train={
            "per_device_train_batch_size": batch_size,
            "gradient_accumulation_steps": accumulated,
            "max_steps": STEPS,
            "learning_rate": 0.01,
            "logging_steps": 1,
            **settings,
        },
        distributed={"strategy": strategy if ranks().world_size > 1 else "none"},
    )
    prepare_deepspeed(of)
    lengths = [3 + 7 * index % 19 for index in range(BATCHES * STEPS)]
    rows = [
        ROWS[task_name]([5 + (index * 31 + place * 17) % 300 for place in range(length)], index)
        for index, length in enumerate(lengths)
    ]
    trainer = FineTuningTrainer(
        model=model_for(task_name, tokenizer),
        args=training_arguments(of, output_dir=folder, run_id="tiny-1", task=task.facts),
        loss=task.loss,
        num_items=task.num_items,
        shifts_labels=task_name == "generative_ner",
        loss_couples_rows=loss_couples_rows,
        train_dataset=rows,
        data_collator=lambda rows: task.collate(rows, tokenizer),
        head_learning_rate=None,
        new_parameters=frozenset(),
        save_total_limit=1,
    )
    trainer.train()
    assert trainer.throughput.done.examples == len(rows)
    assert trainer.throughput.done.tokens == sum(lengths)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def curves_on_ranks(folder: Path) -> None:
    """Every case on all ranks; rank 0 leaves the losses."""
    found = {}
    for case in CASES:
        found[case] = curve(folder / case, case, accumulated=BATCHES // ranks().world_size)
        _forget_the_run()
    if ranks().is_main:
        (folder / "curves.json").write_text(json.dumps(found))

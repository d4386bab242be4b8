"""The smallest training there is, for tests of what goes along with one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from models import recipe
from torch.nn import Dropout, Linear, Module
from transformers import TrainerCallback

from rankfold.lifeline import Lifeline
from rankfold.task_facts import task_facts
from rankfold.training.arguments import training_arguments
from rankfold.training.trainer import FineTuningTrainer


class Line(Module):
    """The smallest model that the Trainer takes: a body and a head, with a loss of its own."""

    def __init__(self, *, nan_from: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.dropout = Linear(2, 2), Linear(2, 1), Dropout(dropout)
        self.nan_from, self.calls = nan_from, 0

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        loss = self.head(self.dropout(self.body(x))).square().mean()
        return {"loss": loss * float("nan") if self.nan_from and self.calls >= self.nan_from else loss}


def trainer(
    folder: Path,
    model: Module,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    head_learning_rate: float | None = None,
    new_parameters: frozenset[str] = frozenset(),
    num_rows: int = 16,
    lifeline: Lifeline | None = None,
    **train: Any,
) -> FineTuningTrainer:
    of = recipe("generative_ner", train={"per_device_train_batch_size": 2, "learning_rate": 0.01} | train)
    return FineTuningTrainer(
        model=model,
        args=training_arguments(of, output_dir=folder, run_id="tiny-1", task=task_facts("extractive_qa")),
        loss=lambda model, batch: (model(**batch)["loss"], None),
        num_items=lambda batch: len(batch["x"]),
        shifts_labels=False,
        loss_couples_rows=False,
        train_dataset=[line(row) for row in range(num_rows)],
        data_collator=lambda rows: {"x": torch.stack([row["x"] for row in rows])},
        callbacks=[*callbacks],
        head_learning_rate=head_learning_rate,
        save_total_limit=of.train.save_total_limit,
        lifeline=lifeline,
        new_parameters=new_parameters,
    )


def line(row: int) -> dict[str, Any]:
    """A row; its `input_ids` only have a length, for grouping by it."""
    return {"x": torch.tensor([1.0, float(row)]), "input_ids": [0] * (row % 5 + 1)}

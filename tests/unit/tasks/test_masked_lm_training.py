"""Masks under the Trainer: others in every epoch, and the same where a run was interrupted."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import models
import pytest
from documents import DOCUMENTS, recipe_of, rows_of
from torch import Tensor
from torch.nn import Module
from transformers import BertConfig, BertForMaskedLM, TrainerCallback, set_seed

from rankfold.errors import StoppedError
from rankfold.lifeline import Lifeline
from rankfold.recipe.schema import Recipe, Train
from rankfold.tasks.masked_lm import MaskedLM
from rankfold.training.arguments import training_arguments
from rankfold.training.checkpoints import resume_point
from rankfold.training.trainer import FineTuningTrainer

TASK = MaskedLM()
TOKENIZER = models.encoder_tokenizer()
TOKENIZER.add_special_tokens({"mask_token": "[MASK]"})
RECIPE = recipe_of("masked_lm").model_copy(
    update={"train": Train(num_train_epochs=3.0, per_device_train_batch_size=2, logging_steps=1)}
)
ROWS = rows_of(TASK.training_features(DOCUMENTS[:6], TOKENIZER, RECIPE, ()))
Batches = list[tuple[list[list[int]], list[list[int]]]]


class AskToStop(TrainerCallback):  # type: ignore[misc]
    """Asks to stop after so many steps."""

    def __init__(self, lifeline: Lifeline, after: int | None) -> None:
        self.lifeline, self.after = lifeline, after

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step + 1 == self.after:
            self.lifeline.ask_to_stop("time limit")


def trained(
    folder: Path, *, stop_after: int | None = None, rows: Sequence[Any] = ROWS, using: Recipe = RECIPE
) -> Batches:
    """Train, or go on training; return the input and the labels of every batch."""
    seen: Batches = []

    def loss(model: Module, batch: Any) -> tuple[Tensor, Any]:
        seen.append((batch["input_ids"].tolist(), batch["labels"].tolist()))
        return TASK.loss(model, batch)

    set_seed(0)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    lifeline = Lifeline()
    trainer = FineTuningTrainer(
        model=BertForMaskedLM(BertConfig(vocab_size=len(TOKENIZER), **shape)),
        args=training_arguments(using, output_dir=folder, run_id="tiny", task=TASK.facts),
        loss=loss,
        num_items=TASK.num_items,
        shifts_labels=False,
        loss_couples_rows=False,
        train_dataset=rows,
        data_collator=lambda rows: TASK.collate(rows, TOKENIZER),
        callbacks=[AskToStop(lifeline, stop_after)],
        head_learning_rate=None,
        save_total_limit=2,
        lifeline=lifeline,
        new_parameters=frozenset(),
    )
    checkpoint = resume_point(folder)
    resume = str(checkpoint) if checkpoint else None
    if stop_after is None:
        trainer.train(resume_from_checkpoint=resume)
    else:
        with pytest.raises(StoppedError):
            trainer.train(resume_from_checkpoint=resume)
    return seen


def test_what_is_masked_changes_with_the_epoch_and_not_with_an_interruption(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    first = trained(tmp_path / "stopped", stop_after=len(whole) // 2)
    assert 0 < len(first) < len(whole)
    assert first + trained(tmp_path / "stopped") == whole

    masks = defaultdict(list)
    for inputs, labels in whole:
        for ids, wanted in zip(inputs, labels, strict=True):
            places = tuple(place for place, label in enumerate(wanted) if label >= 0)
            restored = (label if label >= 0 else token for token, label in zip(ids, wanted, strict=True))
            masks[tuple(token for token in restored if token != TOKENIZER.pad_token_id)].append(places)
    assert {len(of_row) for of_row in masks.values()} >= {3}
    differing = [len(set(of_row)) > 1 for of_row in masks.values()]
    assert sum(differing) > 0.8 * len(differing)


@pytest.mark.parametrize("processes", [0, 1])
def test_a_row_by_itself_has_other_masks_in_every_epoch_too(tmp_path: Path, processes: int) -> None:
    longest = [max(ROWS, key=lambda row: len(row["input_ids"]))]
    train = {"num_train_epochs": 6.0, "save_steps": 100, "dataloader_num_workers": processes}
    using = RECIPE.model_copy(update={"train": RECIPE.train.model_copy(update=train)})
    whole = trained(tmp_path / "whole", rows=longest, using=using)
    assert len(whole) == 6
    assert len({str(labels) for _, labels in whole}) == 6
    first = trained(tmp_path / "stopped", stop_after=3, rows=longest, using=using)
    assert first + trained(tmp_path / "stopped", rows=longest, using=using) == whole

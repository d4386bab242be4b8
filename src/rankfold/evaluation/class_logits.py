"""What a model with one score a label, or a choice, says of some rows."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.errors import NumericalError
from rankfold.evaluation.batches import window_batches
from rankfold.evaluation.work import UnitWork
from rankfold.recipe.schema import Evaluation


def class_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    work: UnitWork,
    settings: Evaluation,
) -> npt.NDArray[np.float32]:
    """Return the logits of a work unit's rows, in their order: float32 (num_rows, num_labels).

    Args:
        model: Its output has `logits` of shape (batch, num_labels).
        tokenizer: The model's.
        work: Its rows are the model's inputs, one list of ints a name.
        settings: What the recipe says of the evaluation.

    Raises:
        NumericalError: A logit is NaN or infinite; names the row and the shard.
    """
    if getattr(model.config, "pad_token_id", None) is None:
        # Decoders look for the last token that is no padding, and refuse batches where they cannot.
        model.config.pad_token_id = tokenizer.pad_token_id
    logits: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * len(work.rows)
    for batch in window_batches(model, tokenizer, work.rows, settings.per_device_eval_batch_size):
        found = batch.output.logits.float().cpu().numpy()
        for row, values in zip(batch.rows, found, strict=True):
            if not np.isfinite(values).all():
                raise _not_finite(values, work.unit.start + row, work.shard)
            logits[row] = values
        work.advance(len(batch.rows))
    return np.stack(logits)


class OneChoiceEach:
    """A model of multiple choice that gets the choices as rows, each as if it were the only one.

    It scores every choice by itself, so nothing changes but that no row is filled up with missing choices.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.config = model.config

    @property
    def device(self) -> torch.device:
        device: torch.device = self._model.device
        return device

    def __call__(self, **inputs: Tensor) -> Any:
        """Return the model's output for inputs (batch, length): logits (batch, 1)."""
        return self._model(**{name: values.unsqueeze(1) for name, values in inputs.items()})


def _not_finite(values: npt.NDArray[np.float32], row: int, shard: str) -> NumericalError:
    place = int(np.flatnonzero(~np.isfinite(values))[0])
    return NumericalError(
        f"logit {place} of row {row} is {values[place]}, not a finite number",
        where=shard,
        remedy="Look at the training loss: the model may have diverged. If it trained well, "
        "evaluate it with model.torch_dtype: float32.",
    )

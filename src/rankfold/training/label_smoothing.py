"""Label smoothing of losses over classes or tokens (Szegedy et al., 2016)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rankfold.data.collate import IGNORED_LABEL
from rankfold.errors import RecipeError


def smoothed(
    loss: Tensor, output: Any, batch: Mapping[str, Any], *, factor: float, shifts_labels: bool
) -> Tensor:
    """Give `factor` of each item's probability to all classes or tokens alike.

    Args:
        loss: The mean loss over the batch's items, a scalar.
        output: The model's output with logits (..., classes).
        batch: With integer labels (...); those that are IGNORED_LABEL do not count.
        factor: From 0 to 1.
        shifts_labels: Each position predicts the next one's label, as in a causal language model.

    Raises:
        RecipeError: The task's loss is not over classes or tokens.
    """
    logits, labels = getattr(output, "logits", None), batch.get("labels")
    if logits is None or labels is None or labels.is_floating_point() or logits.shape[:-1] != labels.shape:
        raise RecipeError(
            "this task's loss is not one over classes or tokens, so there are no labels to smooth",
            where="train.label_smoothing_factor",
            remedy="Leave it out.",
        )
    if shifts_labels:
        logits, labels = logits[..., :-1, :], labels[..., 1:]
    counts = labels != IGNORED_LABEL
    # A batch without items has no mean: NaN, as its loss is.
    uniform = _uniform_losses(logits[counts].float(), _missing_choices(logits, batch, counts)).mean()
    return (1 - factor) * loss + factor * uniform


def _missing_choices(logits: Tensor, batch: Mapping[str, Any], counts: Tensor) -> Tensor | None:
    """Multiple choice: which of an item's choices are padding alone, and so none."""
    mask = batch.get("attention_mask")
    return ~mask.any(dim=-1)[counts] if mask is not None and mask.ndim == logits.ndim + 1 else None


def _uniform_losses(logits: Tensor, missing: Tensor | None) -> Tensor:
    """The cross entropy (items) of all classes of an item alike, but for those that are missing."""
    if missing is None:
        return -torch.log_softmax(logits, dim=-1).mean(dim=-1)
    losses = -torch.log_softmax(logits.masked_fill(missing, float("-inf")), dim=-1)
    return losses.masked_fill(missing, 0).sum(dim=-1) / (~missing).sum(dim=-1)

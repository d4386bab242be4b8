"""Learning from a teacher's probabilities beside the labels (Hinton et al., 2015, arXiv:1503.02531)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import log_softmax
from transformers import PreTrainedModel

from rankfold.data.collate import IGNORED_LABEL
from rankfold.errors import ModelError, RecipeError
from rankfold.recipe.schema import Distillation

Batch = Mapping[str, Any]
Loss = Callable[[Module, Batch], tuple[Tensor, Any]]
"""The mean loss over a batch's items, and the model's output."""

_WHERE = "train.distillation.teacher"
_NEVER = -1e9
"""A logit of no probability whose product with it is still a number."""


def distilled(loss: Loss, teacher: PreTrainedModel, settings: Distillation, *, shifts_labels: bool) -> Loss:
    """Mix a loss with how far the student's softened probabilities are from the teacher's.

    The loss becomes (1 − alpha) · loss + alpha · T² · KL(teacher ‖ student), both softened by the
    temperature T: T² keeps the gradients' size whatever T is (section 2 of the paper). KL is the mean
    over the same items as the loss: tokens with a label, texts, or starts and ends of answers.

    Args:
        loss: The task's.
        teacher: Of the same task and classes; it is frozen here and put where the student computes.
        settings: Temperature and alpha.
        shifts_labels: Each position predicts the next one's label, as in a causal language model.
    """
    teacher.requires_grad_(False).eval()
    alpha, temperature = settings.alpha, settings.temperature

    def mixed(model: Module, batch: Batch) -> tuple[Tensor, Any]:
        of_labels, output = loss(model, batch)
        if alpha == 0:
            return of_labels, output
        if teacher.device != of_labels.device:
            teacher.to(of_labels.device)
        with torch.no_grad():
            # As the task reads a batch; the teacher's own loss is of no interest.
            _, taught = loss(teacher, batch)
        pairs = _item_logits(output, taught, batch, shifts_labels=shifts_labels)
        parts = [_divergence(student, of_teacher, temperature) for student, of_teacher in pairs]
        divergence = torch.stack(parts).mean()
        return (1 - alpha) * of_labels + alpha * temperature**2 * divergence, output

    return mixed


def check_same_classes(
    student: PreTrainedModel, teacher: PreTrainedModel, vocabularies: tuple[Mapping[str, int], ...]
) -> None:
    """Probabilities can only be compared where both models mean the same by them.

    Args:
        student: The model that is trained.
        teacher: The model to learn from.
        vocabularies: The student's tokenizer's and the teacher's.

    Raises:
        ModelError: Tokens or labels differ; names what does.
    """
    one, other = vocabularies
    if one != other:
        differing = sorted(set(one.items()) ^ set(other.items()))[0][0]
        raise ModelError(
            f"the teacher reads text in other tokens: {len(other)} instead of {len(one)}, "
            f"and {differing!r} is not the same one",
            where=_WHERE,
            remedy="Choose a teacher with the student's tokenizer.",
        )
    ours, theirs = student.config.id2label, teacher.config.id2label
    if student.config.num_labels != teacher.config.num_labels or dict(ours) != dict(theirs):
        raise ModelError(
            f"the teacher's labels are {', '.join(map(str, theirs.values()))}, the student's "
            f"{', '.join(map(str, ours.values()))}",
            where=_WHERE,
            remedy="Choose a teacher that was trained for these labels, such as run:FOLDER.",
        )


def _item_logits(
    student: Any, teacher: Any, batch: Batch, *, shifts_labels: bool
) -> list[tuple[Tensor, Tensor]]:
    """Pairs of (items, classes) logits whose probabilities are compared; starts and ends are two pairs."""
    if getattr(student, "start_logits", None) is not None:
        mask = batch.get("attention_mask")
        return [
            (_masked(getattr(student, name), mask), _masked(getattr(teacher, name), mask))
            for name in ("start_logits", "end_logits")
        ]
    logits, labels = getattr(student, "logits", None), batch.get("labels")
    if logits is None or labels is None or labels.is_floating_point():
        raise RecipeError(
            "this task's loss is not one over classes or tokens, so there are no probabilities to learn",
            where="train.distillation",
            remedy="Leave it out.",
        )
    both = [logits, teacher.logits]
    mask = batch.get("attention_mask")
    if mask is not None and mask.ndim == logits.ndim + 1:
        # Multiple choice: a choice of padding alone is none.
        both = [_masked(one, mask.any(dim=-1)) for one in both]
    if shifts_labels:
        both, labels = [one[..., :-1, :] for one in both], labels[..., 1:]
    ours, theirs = (one[labels != IGNORED_LABEL] for one in both)
    return [(ours, theirs)]


def _masked(logits: Tensor, is_there: Tensor | None) -> Tensor:
    """No probability for what is not there, such as an answer that begins in padding."""
    return logits if is_there is None else logits.float().masked_fill(is_there == 0, _NEVER)


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of softened probabilities, the mean over items, in float32."""
    if student.shape != teacher.shape:
        raise ModelError(
            f"the teacher tells {teacher.shape[-1]} classes or tokens apart, the student {student.shape[-1]}",
            where=_WHERE,
            remedy="Choose a teacher with as many.",
        )
    ours = log_softmax(student.float() / temperature, dim=-1)
    theirs = log_softmax(teacher.float() / temperature, dim=-1)
    return (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()

"""Whether a model keeps packed examples apart: found out, since an architecture does not say."""

from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rankfold.errors import RecipeError

_LENGTH = 4
"""Tokens of each of the two texts that stand in the row to try."""


class PackingCheck(TrainerCallback):  # type: ignore[misc]
    """Before the first step, refuses a model in which a packed example sees the one before it."""

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel,
        **kwargs: Any,
    ) -> None:
        check_packing(model)


def check_packing(model: PreTrainedModel) -> None:
    """Change the first of two packed texts and look whether the second one's logits do.

    Raises:
        RecipeError: They do, or the model takes no positions: one text sees the other.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            one, other = (_second_texts_logits(model, first_token) for first_token in (1, 2))
    except TypeError as error:
        raise _refusal(model, f"takes no position_ids ({error})") from error
    finally:
        model.train(was_training)
    if not torch.equal(one, other):
        raise _refusal(model, "lets a packed example see the one before it")


def _second_texts_logits(model: PreTrainedModel, first_token: int) -> torch.Tensor:
    """Logits (tokens, vocabulary) of a text that stands behind another, which repeats one token."""
    second = torch.arange(3, 3 + _LENGTH)
    row = torch.cat([torch.full((_LENGTH,), first_token), second])
    positions = torch.arange(_LENGTH).repeat(2)
    output = model(
        input_ids=row.unsqueeze(0).to(model.device),
        position_ids=positions.unsqueeze(0).to(model.device),
        use_cache=False,
    )
    logits: torch.Tensor = output.logits[0, _LENGTH:]
    return logits


def _refusal(model: PreTrainedModel, why: str) -> RecipeError:
    kernel = getattr(model.config, "_attn_implementation", None)
    return RecipeError(
        f"{model.config.model_type} with {kernel} attention {why}",
        where="train.packing",
        remedy="Set train.packing to false; train_sampling_strategy: group_by_length also saves padding.",
    )

"""How probable a model finds given tokens: a row's sum of log-probabilities, and how many it would guess."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rankfold.data.collate import IGNORED_LABEL
from rankfold.errors import NumericalError
from rankfold.evaluation.one_pass import rows_of_one_pass

Kind = Literal["encoder", "decoder", "encoder-decoder"]
"""As `TaskFacts.model_kind`: a decoder's output at a token is of the next one."""


@dataclass(frozen=True)
class TokenLosses:
    """What a model says of the labels of some rows.

    Attributes:
        loss: float64 (num_rows,), the sum of −log p of a row's labels, in nats.
        num_tokens: int64 (num_rows,), labels scored.
        num_correct: int64 (num_rows,), those that the model finds more probable than any other token.
    """

    loss: npt.NDArray[np.float64]
    num_tokens: npt.NDArray[np.int64]
    num_correct: npt.NDArray[np.int64]

    def check_finite(self, names: list[str], shard: str) -> None:
        """Raise NumericalError with the name of the first row whose loss is no number."""
        for name, loss in zip(names, self.loss.tolist(), strict=True):
            if not np.isfinite(loss):
                raise NumericalError(
                    f"the loss of {name} is {loss}",
                    where=shard,
                    remedy="Check the model's weights, or load it in another `model.torch_dtype`.",
                )


@torch.inference_mode()
def token_losses(
    model: PreTrainedModel, inputs: Mapping[str, Tensor | int | bool], labels: Tensor, kind: Kind
) -> TokenLosses:
    """Score the labels of a batch, as many rows in one pass as `rows_of_one_pass` allows.

    Args:
        model: In evaluation mode; it may be on another device than `inputs`.
        inputs: The model's arguments without labels; the tensors are (num_rows, …).
        labels: int64 (num_rows, num_tokens), IGNORED_LABEL where nothing is to be scored. A decoder's
            stand where the tokens themselves do and are shifted here, and may be only the last columns,
            with `logits_to_keep` among the inputs; those of an encoder-decoder become the decoder's input.
        kind: The model's kind.
    """
    rows = rows_of_one_pass(model, labels.shape[1])
    parts = []
    for start in range(0, len(labels), rows):
        chosen = slice(start, start + rows)
        some = {
            name: value[chosen].to(model.device) if isinstance(value, Tensor) else value
            for name, value in inputs.items()
        }
        parts.append(_one_pass(model, some, labels[chosen].to(model.device), kind))
    loss, num_tokens, num_correct = (torch.cat(column) for column in zip(*parts, strict=True))
    return TokenLosses(loss.numpy(), num_tokens.numpy(), num_correct.numpy())


def _one_pass(
    model: PreTrainedModel, inputs: dict[str, Any], labels: Tensor, kind: Kind
) -> tuple[Tensor, Tensor, Tensor]:
    arguments = inputs
    if kind == "encoder-decoder":
        shifted = getattr(model, "prepare_decoder_input_ids_from_labels", None)
        # Of `labels` the model computes a loss of its own beside this one; M2M100 shifts no others.
        given = {"labels": labels} if shifted is None else {"decoder_input_ids": shifted(labels=labels)}
        arguments = {**inputs, **given}
    if kind != "encoder":
        arguments = {**arguments, "use_cache": False}
    logits = cast(Tensor, model(**arguments).logits)
    if kind == "decoder":
        # Virtual tokens that an adapter puts in front have logits, but no labels.
        logits, labels = logits[:, -labels.shape[1] : -1], labels[:, 1:]
    # Row by row, as float32 copies of all logits would take twice the memory of these.
    scored = [_row(*row) for row in zip(logits, labels, strict=True)]
    losses, num_tokens, num_correct = (torch.stack(column).cpu() for column in zip(*scored, strict=True))
    return losses, num_tokens, num_correct


def _row(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One row's loss, tokens and correct tokens; `logits` is (num_tokens, vocabulary)."""
    counted = labels != IGNORED_LABEL
    wanted = labels[counted]
    of_wanted = logits[counted].float()
    each = of_wanted.log_softmax(dim=1).gather(1, wanted.unsqueeze(1)).squeeze(1).double()
    correct = of_wanted.argmax(dim=1) == wanted
    return -each.sum(), counted.sum(), correct.sum()

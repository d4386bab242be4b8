"""Running a model over windows of similar length at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.data.collate import attention_mask, pad

Window = Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Some of a list's windows, and what the model says of them.

    Attributes:
        rows: Places in the list.
        windows: The windows at these places.
        output: The model's output, on the model's device.
        lengths: (num_windows,), real tokens.
        first_token: (num_windows,), column of the first real token.
    """

    rows: list[int]
    windows: list[Window]
    output: Any
    lengths: npt.NDArray[np.int64]
    first_token: npt.NDArray[np.int64]


@torch.inference_mode()
def window_batches(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, windows: Sequence[Window], batch_size: int
) -> Iterator[Batch]:
    """Yield all windows in batches, longest first; which share a batch depends on `windows` alone."""
    order = sorted(range(len(windows)), key=lambda row: -len(windows[row]["input_ids"]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        chosen = [windows[row] for row in rows]
        inputs = model_inputs(chosen, tokenizer)
        yield Batch(
            rows=rows,
            windows=chosen,
            output=model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}),
            lengths=np.array([len(window["input_ids"]) for window in chosen]),
            first_token=inputs["attention_mask"].argmax(dim=1).numpy(),
        )


def model_inputs(rows: Sequence[Window], tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """Pad windows to int64 (batch, longest) inputs on the tokenizer's side, attention mask included."""
    side = tokenizer.padding_side
    input_ids = pad(rows, "input_ids", int(tokenizer.pad_token_id), side)
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask(rows, input_ids, side)}
    if "token_type_ids" in rows[0]:
        inputs["token_type_ids"] = pad(rows, "token_type_ids", tokenizer.pad_token_type_id, side)
    return inputs

"""Running a question answering model over windows and keeping records instead of logits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.data.collate import attention_mask, pad
from rankfold.evaluation.extract_on_device import extract_on_device
from rankfold.nbest.extract import extract_records
from rankfold.nbest.records import WINDOW_RECORD, Records


@torch.inference_mode()
def window_records(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    windows: Sequence[Mapping[str, Any]],
    *,
    first_window: int,
    batch_size: int,
    n_best_size: int,
    shard: str,
    advance: Callable[[int], None],
) -> Records:
    """Return the records of `windows`, in their order; `first_window` is the id of the first.

    Windows of similar length share a batch; which do depends on `windows` alone.

    Raises:
        NumericalError: A logit is NaN or infinite; names the window and the shard.
    """
    order = sorted(range(len(windows)), key=lambda row: -len(windows[row]["input_ids"]))
    records: Records = np.zeros(len(windows), dtype=WINDOW_RECORD)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = [windows[row] for row in rows]
        inputs = model_inputs(batch, tokenizer)
        output = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()})
        lengths = np.array([len(window["input_ids"]) for window in batch])
        padded = inputs["input_ids"].shape[1]
        on_left = tokenizer.padding_side == "left"
        records[rows] = records_of_logits(
            output.start_logits,
            output.end_logits,
            lengths=lengths,
            first_token=padded - lengths if on_left else np.zeros_like(lengths),
            cls_index=np.array([window["cls_index"] for window in batch]),
            window_ids=np.array(rows) + first_window,
            example_indices=np.array([window["example"] for window in batch]),
            n_best_size=n_best_size,
            shard=shard,
        )
        advance(len(rows))
    return records


def records_of_logits(start_logits: Tensor, end_logits: Tensor, **windows: Any) -> Records:
    """Make the records of a batch where its logits are: on a CUDA device, or on the host without a copy.

    `windows` are the other arguments of `extract_records`; both ways give the same bytes.
    """
    if start_logits.is_cuda:
        return extract_on_device(start_logits, end_logits, **windows)
    starts, ends = (logits.float().cpu().numpy() for logits in (start_logits, end_logits))
    return extract_records(starts, ends, **windows)


def model_inputs(rows: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """Pad windows to int64 (batch, longest) inputs on the tokenizer's side, attention mask included."""
    side = tokenizer.padding_side
    input_ids = pad(rows, "input_ids", int(tokenizer.pad_token_id), side)
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask(rows, input_ids, side)}
    if "token_type_ids" in rows[0]:
        inputs["token_type_ids"] = pad(rows, "token_type_ids", tokenizer.pad_token_type_id, side)
    return inputs

"""Training batches of causal language models, of one example a row or of packed rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rankfold.data.collate import IGNORED_LABEL, attention_mask, pad

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


def collate_causal(rows: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Pad on the left, so that answers stand together on the right and only they need logits.

    The vocabulary is large and prompts are long: logits of the prompts would take most of the memory
    and a good part of the time, to be thrown away by the loss.

    Args:
        rows: `input_ids` and `labels` of equal length; packed rows (`packing.pack`) have `position_ids` too.
        tokenizer: Names the padding token.

    Returns:
        `input_ids`, `position_ids` int64 (batch, longest); `labels` int64 (batch, kept), the columns from
        the first that is learned on; `logits_to_keep`, the same number; `attention_mask` int64
        (batch, longest), or for packed rows `use_cache` False in its place.
    """
    input_ids = pad(rows, "input_ids", int(tokenizer.pad_token_id), "left")
    labels = pad(rows, "labels", IGNORED_LABEL, "left")
    mask = attention_mask(rows, input_ids, "left")
    places = _places(rows, mask)
    # Padding or another example stands before a first token, and neither is to predict it.
    labels[places["position_ids"] == 0] = IGNORED_LABEL
    learned = (labels != IGNORED_LABEL).any(dim=0).nonzero()
    width = labels.shape[1]
    # One more: the first learned token is predicted by the one before it.
    kept = min(width - int(learned[0]) + 1, width) if len(learned) else 1
    return {
        "input_ids": input_ids,
        **places,
        "labels": labels[:, -kept:],
        "logits_to_keep": kept,
    }


def _places(rows: Sequence[Mapping[str, Any]], mask: Tensor) -> dict[str, Any]:
    """What says where a token stands and which others it may see."""
    if "position_ids" in rows[0]:
        # Positions that start again part the documents, in transformers only without a mask and without a
        # cache (masking_utils._preprocess_mask_arguments). Padding is a document of its own.
        position_ids = pad(rows, "position_ids", 0, "left")
        padding = (1 - mask).cumsum(dim=1) - 1
        return {"position_ids": position_ids.where(mask.bool(), padding), "use_cache": False}
    # Padding on the left must not move a token's position.
    return {"attention_mask": mask, "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)}

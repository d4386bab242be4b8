"""A batch of prompts, read by the model once for all the sequences that continue them."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

_REPEATABLE = (DynamicLayer, DynamicSlidingWindowLayer)
"""Layers whose whole state is keys and values, a row for each text, never written in place."""


@dataclass(frozen=True)
class PromptBatch:
    """Prompts padded on the left.

    Attributes:
        input_ids: int64 (num_prompts, longest).
        attention_mask: int64 (num_prompts, longest), 1 for real tokens.
        cache: Keys and values of all columns but the last; None where the model's cannot be shared.
    """

    input_ids: Tensor
    attention_mask: Tensor
    cache: DynamicCache | None

    @property
    def length(self) -> int:
        """Columns, padding included."""
        return self.input_ids.shape[1]

    @property
    def num_cached(self) -> int:
        """Columns that the model need not read again."""
        return 0 if self.cache is None else self.length - 1

    def cache_of(self, rows: Tensor) -> DynamicCache | None:
        """Return a copy of some prompts' keys and values, int64 (num_rows,), repeats allowed.

        The copy grows as the model reads on; this batch's own stays as it is.
        """
        if self.cache is None:
            return None
        selected = copy.copy(self.cache)
        selected.layers = [copy.copy(layer) for layer in self.cache.layers]
        # Replaces the tensors of the new layer objects: those of the old ones are only read.
        selected.batch_select_indices(rows)
        return selected

    def inputs_of(self, rows: Tensor, num_beams: int) -> dict[str, Any]:
        """Return what `generate` takes to continue some prompts, int64 (num_rows,), repeats allowed."""
        return {
            "input_ids": self.input_ids[rows],
            "attention_mask": self.attention_mask[rows],
            # `generate` repeats the ids for its beams by itself, but not a cache that it is given.
            "past_key_values": self.cache_of(rows.repeat_interleave(num_beams)),
        }

    def logits_behind(
        self, model: PreTrainedModel, owners: Tensor, generated: Tensor, real: Tensor
    ) -> Tensor:
        """Return the logits of each generated token, (num_sequences, num_generated, vocabulary).

        Args:
            model: What generated.
            owners: int64 (num_sequences,), each sequence's prompt.
            generated: int64 (num_sequences, num_generated).
            real: bool (num_sequences, num_generated), which of these count.
        """
        # The last token predicts none.
        input_ids = torch.cat([self.input_ids[owners], generated[:, :-1]], dim=1)
        mask = torch.cat([self.attention_mask[owners], real[:, :-1].long()], dim=1)
        unread = slice(self.num_cached, None)
        cache = self.cache_of(owners)
        output = model(
            input_ids=input_ids[:, unread],
            attention_mask=mask,
            position_ids=positions(mask)[:, unread],
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=generated.shape[1],
        )
        return cast(Tensor, output.logits)


@torch.inference_mode()
def read_prompts(model: PreTrainedModel, prompts: Sequence[Sequence[int]], pad_id: int) -> PromptBatch:
    """Pad the prompts to the longest and compute their keys and values, if the model can share them.

    The last token of each prompt is left out: `generate` wants one to start from, and its logits are those
    of the first answer token.
    """
    input_ids, attention_mask = (part.to(model.device) for part in _pad_left(prompts, pad_id))
    cache = _empty_cache(model)
    if cache is None or input_ids.shape[1] == 1:
        return PromptBatch(input_ids, attention_mask, None)
    mask = attention_mask[:, :-1]
    model(
        input_ids=input_ids[:, :-1],
        attention_mask=mask,
        position_ids=positions(mask),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return PromptBatch(input_ids, attention_mask, cache)


def positions(attention_mask: Tensor) -> Tensor:
    """Return each token's place in its own text: padding on the left must not move it."""
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)


def _empty_cache(model: PreTrainedModel) -> DynamicCache | None:
    """Return a cache for the model to fill, or None if its rows could not be repeated afterwards.

    State-space and hybrid models keep a running state besides keys and values, or in place of them, which
    the cache's own methods do not select by row. Such a model reads a prompt once for each sequence.
    """
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return None
    cache = DynamicCache(config=model.config)
    # The very types: subclasses add state of their own.
    return cache if all(type(layer) in _REPEATABLE for layer in cache.layers) else None


def _pad_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    longest = max(len(prompt) for prompt in prompts)
    input_ids = torch.full((len(prompts), longest), pad_id)
    attention_mask = torch.zeros_like(input_ids)
    for row, prompt in enumerate(prompts):
        input_ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        attention_mask[row, longest - len(prompt) :] = 1
    return input_ids, attention_mask

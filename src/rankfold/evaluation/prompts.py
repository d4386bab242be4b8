"""A batch of prompts, read by the model once for all the sequences that continue them."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

_REPEATABLE = (DynamicLayer, DynamicSlidingWindowLayer)
"""Layers whose whole state is keys and values, a row for each text, never written in place."""

_WORTH_A_PASS = 16
"""Shared tokens from which on reading them by themselves costs less than it saves."""


@dataclass(frozen=True)
class PromptBatch:
    """Prompts in rows of one length: what all of them begin with, padding, what is each prompt's own.

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

    What all prompts begin with, such as an instruction, is read once. The last token of each prompt is left
    out: `generate` wants one to start from, and its logits are those of the first answer token.
    """
    cache = _empty_cache(model)
    num_shared = 0 if cache is None else _num_shared(prompts, cache)
    input_ids, attention_mask = (part.to(model.device) for part in _pad(prompts, num_shared, pad_id))
    batch = PromptBatch(input_ids, attention_mask, cache)
    if cache is None or batch.length == 1:
        return replace(batch, cache=None)
    if num_shared:
        _read(model, batch, cache, slice(1), slice(num_shared))
        cache.batch_repeat_interleave(len(prompts))
    if num_shared < batch.num_cached:
        _read(model, batch, cache, slice(None), slice(num_shared, batch.num_cached))
    return batch


def _read(
    model: PreTrainedModel, batch: PromptBatch, cache: DynamicCache, rows: slice, columns: slice
) -> None:
    """Let the model read some columns behind those in the cache, which grows by them."""
    mask = batch.attention_mask[rows, : columns.stop]
    model(
        input_ids=batch.input_ids[rows, columns],
        attention_mask=mask,
        position_ids=positions(mask)[:, columns],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )


def positions(attention_mask: Tensor) -> Tensor:
    """Return each token's place in its own text: padding in front of it must not move it."""
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


def _num_shared(prompts: Sequence[Sequence[int]], cache: DynamicCache) -> int:
    """Return how many tokens all prompts begin with, if reading them by themselves pays.

    At least one token is left to each prompt. A sliding window counts columns, padding included, so that a
    gap behind the shared tokens would move them out of it.
    """
    if len(prompts) == 1 or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return 0
    # No other two differ sooner than the first and the last in order.
    first, *_, last = sorted(map(list, prompts))
    pairs = zip(first, last, strict=False)
    num_equal = next((place for place, (one, other) in enumerate(pairs) if one != other), len(first))
    num_shared = min(num_equal, min(map(len, prompts)) - 1)
    return num_shared if num_shared >= _WORTH_A_PASS else 0


def _pad(prompts: Sequence[Sequence[int]], num_shared: int, pad_id: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask, padded between the shared tokens and each prompt's own."""
    longest = max(map(len, prompts))
    input_ids = torch.full((len(prompts), longest), pad_id)
    attention_mask = torch.zeros_like(input_ids)
    for row, prompt in enumerate(prompts):
        own = longest - len(prompt) + num_shared
        input_ids[row, :num_shared] = torch.tensor(prompt[:num_shared])
        input_ids[row, own:] = torch.tensor(prompt[num_shared:])
        attention_mask[row, :num_shared] = 1
        attention_mask[row, own:] = 1
    return input_ids, attention_mask

"""A batch of source texts, read by an encoder once for all the sequences that its decoder writes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from rankfold.data.collate import attention_mask, pad
from rankfold.errors import ModelError


@dataclass(frozen=True)
class SourceBatch:
    """Source texts padded on the right, as an encoder-decoder's decoder sees them.

    Attributes:
        states: (num_sources, longest, width), what the encoder made of them.
        attention_mask: int64 (num_sources, longest), 1 for real tokens.
        prefix: int64 (num_prefix,), the tokens that every sequence begins with: the decoder's start, and
            where the model demands one, the token behind it, such as BART's.
    """

    states: Tensor
    attention_mask: Tensor
    prefix: Tensor

    @property
    def length(self) -> int:
        """Columns in front of the first token that the model chooses."""
        return len(self.prefix)

    def inputs_of(self, rows: Tensor, num_beams: int) -> dict[str, Any]:
        """Return what `generate` takes to continue some sources, int64 (num_rows,), repeats allowed."""
        # It repeats the encoder's states for its beams by itself.
        return {**self._read(rows), "decoder_input_ids": self.prefix.repeat(len(rows), 1)}

    def logits_behind(
        self, model: PreTrainedModel, owners: Tensor, generated: Tensor, real: Tensor
    ) -> Tensor:
        """Return the logits of each generated token; arguments as `PromptBatch.logits_behind`."""
        # The last token predicts none. What stands behind a sequence's end is not seen by what is before it.
        decoder_inputs = torch.cat([self.prefix.repeat(len(owners), 1), generated[:, :-1]], dim=1)
        output = model(**self._read(owners), decoder_input_ids=decoder_inputs, use_cache=False)
        return cast(Tensor, output.logits[:, self.length - 1 :])

    def _read(self, rows: Tensor) -> dict[str, Any]:
        return {
            "encoder_outputs": BaseModelOutput(last_hidden_state=self.states[rows]),
            "attention_mask": self.attention_mask[rows],
        }


@torch.inference_mode()
def read_sources(model: PreTrainedModel, sources: Sequence[Sequence[int]], pad_id: int) -> SourceBatch:
    """Pad the sources to the longest and let the encoder read them.

    Raises:
        ModelError: The model does not say with which token its decoder starts.
    """
    rows = [{"input_ids": list(source)} for source in sources]
    input_ids = pad(rows, "input_ids", pad_id, "right")
    mask = attention_mask(rows, input_ids, "right").to(model.device)
    output = model.get_encoder()(input_ids=input_ids.to(model.device), attention_mask=mask)
    prefix = torch.tensor(_prefix(model), device=model.device)
    return SourceBatch(output.last_hidden_state, mask, prefix)


KEPT = ("decoder_start_token_id", "forced_bos_token_id", "bad_words_ids")
"""Values of a model's own generation configuration that belong to how it was trained, not to a style."""


def kept_settings(model: PreTrainedModel) -> dict[str, Any]:
    """What of an encoder-decoder's own generation configuration every search has to keep."""
    return {name: value for name in KEPT if (value := _setting(model, name)) is not None}


def _setting(model: PreTrainedModel, name: str) -> Any:
    own = getattr(model.generation_config, name, None)
    return getattr(model.config, name, None) if own is None else own


def _prefix(model: PreTrainedModel) -> list[int]:
    start, forced = (_setting(model, name) for name in KEPT[:2])
    if start is None:
        raise ModelError(
            f"the configuration of {type(model).__name__} does not say with which token its decoder starts",
            where="model.name_or_path",
            remedy="Set decoder_start_token_id in its config.json.",
        )
    return [int(start), *([] if forced is None else [int(forced)])]

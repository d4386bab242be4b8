"""The log-probabilities of generated sequences, given their prompts."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rankfold.evaluation.one_pass import rows_of_one_pass
from rankfold.evaluation.prompts import PromptBatch
from rankfold.evaluation.sources import SourceBatch


@torch.inference_mode()
def log_probabilities(
    model: PreTrainedModel,
    prompts: PromptBatch | SourceBatch,
    owners: Tensor,
    generated: Tensor,
    lengths: Tensor,
) -> Tensor:
    """Return float64 (num_sequences,): the sum of each sequence's own tokens' log-probabilities.

    One pass over the generated tokens behind what the model made of the prompts, a few sequences at a time.
    `generate` would give the same, but only by holding sequences × tokens × vocabulary floats, and divided
    by lengths in beam search.

    Args:
        model: What generated.
        prompts: The prompts, as they were read.
        owners: int64 (num_sequences,), each sequence's prompt.
        generated: int64 (num_sequences, num_generated).
        lengths: int64 (num_sequences,), tokens that count; what stands behind them does not.
    """
    rows = rows_of_one_pass(model, generated.shape[1])
    # The function, since the method has no types.
    parts = zip(*(torch.split(part, rows) for part in (owners, generated, lengths)), strict=True)
    return torch.cat([_at_once(model, prompts, *part) for part in parts])


def _at_once(
    model: PreTrainedModel,
    prompts: PromptBatch | SourceBatch,
    owners: Tensor,
    generated: Tensor,
    lengths: Tensor,
) -> Tensor:
    real = torch.arange(generated.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    logits = prompts.logits_behind(model, owners, generated, real)
    log_softmax = logits.float().log_softmax(dim=2)
    each = log_softmax.gather(2, generated.unsqueeze(2)).squeeze(2).double()
    return torch.where(real, each, 0.0).sum(dim=1)

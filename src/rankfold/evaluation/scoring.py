"""The log-probabilities of generated sequences, given their prompts."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rankfold.evaluation.one_pass import rows_of_one_pass
from rankfold.evaluation.prompts import PromptBatch
from rankfold.evaluation.sources import SourceBatch


class LogProbabilityRecord:
    """A logits processor that changes nothing, and records how probable the tokens are that get chosen.

    For searches in which a row goes on with its own last token: greedy search, and sampling by draws of a
    row's own. It must come before processors that change the logits.
    """

    def __init__(self) -> None:
        self._each: list[Tensor] = []
        self._next: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Take the last of the ids (num_rows, so far); return the scores (num_rows, vocabulary) as given."""
        self._take(input_ids[:, -1:])
        self._next = scores.float().log_softmax(dim=1)
        return scores

    def _take(self, tokens: Tensor) -> None:
        if self._next is not None:
            self._each.append(self._next.gather(1, tokens).squeeze(1))

    def totals(self, generated: Tensor, lengths: Tensor) -> Tensor:
        """Return float64 (num_sequences,), as `log_probabilities` does, once generating has ended."""
        # On GPUs `generate` may be some steps ahead before it knows that all have ended.
        if len(self._each) < generated.shape[1]:
            self._take(generated[:, -1:])
        return _sums(torch.stack(self._each[: generated.shape[1]], dim=1), lengths)


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
    For searches that a `LogProbabilityRecord` cannot follow. `generate` would give the same, but only by
    holding sequences × tokens × vocabulary floats, and divided by lengths in beam search.

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
    return _sums(log_softmax.gather(2, generated.unsqueeze(2)).squeeze(2), lengths)


def _sums(each: Tensor, lengths: Tensor) -> Tensor:
    """Add up the first `lengths` of each row of (num_sequences, num_generated), in float64."""
    real = torch.arange(each.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    return torch.where(real, each.double(), 0.0).sum(dim=1)

"""Sampling in which every sequence has random numbers of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from rankfold.recipe.schema import Evaluation


@dataclass(frozen=True)
class IndependentDraws:
    """A logits processor that draws each row's next token and leaves it the only one possible.

    torch draws for a whole batch from one stream, so that a text's samples would change with the texts
    beside it. Here a row has one number for each token, and takes the token whose share of the cumulative
    distribution holds it.

    Attributes:
        draws: Uniform in [0, 1), float64 (num_rows, max_new_tokens).
        prompt_length: Columns in front of the first token drawn.
    """

    draws: Tensor
    prompt_length: int

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores (num_rows, vocabulary): 0 for the token drawn, minus infinity for all others."""
        step = input_ids.shape[1] - self.prompt_length
        cumulative = scores.double().softmax(dim=1).cumsum(dim=1)
        drawn = self.draws[:, step : step + 1] * cumulative[:, -1:]
        # To the right of equals: a token of no probability is never drawn. NaN, which has no place, is
        # left to the log-probabilities to tell.
        tokens = torch.searchsorted(cumulative, drawn, right=True).clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens, 0.0)


def sampling_processors(
    settings: Evaluation, prompts: Sequence[int], prompt_length: int, *, seed: int, device: torch.device
) -> LogitsProcessorList:
    """Return what turns greedy search into sampling: temperature, nucleus, and each row's own draws.

    A text's draws depend on `seed` and its index in `prompts`; its sequences are rows one after another.
    """
    shape = (settings.num_return_sequences, settings.max_new_tokens)
    draws = np.concatenate([np.random.default_rng([seed, prompt]).random(shape) for prompt in prompts])
    processors = LogitsProcessorList([TemperatureLogitsWarper(settings.temperature)])
    if settings.top_p < 1:
        processors.append(TopPLogitsWarper(settings.top_p))
    processors.append(IndependentDraws(torch.from_numpy(draws).to(device), prompt_length))
    return processors

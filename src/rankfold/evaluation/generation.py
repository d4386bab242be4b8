"""Generating sequences for a list of prompts, in batches of similar length, with their probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rankfold.recipe.schema import Evaluation

LOGITS_AT_A_TIME = 2**28
"""Logits scored in one pass: 1 GiB in float32. All of a batch's would take many times the model's memory."""


@dataclass(frozen=True)
class GeneratedSequence:
    """One answer to one prompt.

    Attributes:
        prompt: Index of the prompt in the list that was given.
        index: Which of the prompt's sequences; 0 is the best beam.
        text: Without special tokens.
        log_probability: Sum of its tokens' log-probabilities, the end of turn included.
        num_tokens: Generated tokens, the end of turn included.
        finished: Whether it ended by itself and not at max_new_tokens.
    """

    prompt: int
    index: int
    text: str
    log_probability: float
    num_tokens: int
    finished: bool


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: Evaluation,
    *,
    stop_ids: Sequence[int],
    seed: int,
) -> Iterator[list[GeneratedSequence]]:
    """Yield the sequences of one batch of prompts at a time, longest prompts first.

    The batches depend on `prompts` alone, and sampling on `seed` and `prompts`.
    """
    torch.manual_seed(seed)
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    size = settings.per_device_eval_batch_size
    config = _generation_config(settings, stop_ids, int(tokenizer.pad_token_id))
    # Left to itself `generate` fills what a configuration leaves empty from the model's own, such as
    # a repetition penalty meant for chatting.
    model.generation_config = config
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        yield _generate_batch(model, tokenizer, {index: prompts[index] for index in batch}, config)


def _generation_config(settings: Evaluation, stop_ids: Sequence[int], pad_id: int) -> GenerationConfig:
    sampling = {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    return GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.num_beams,
        num_return_sequences=settings.num_return_sequences,
        do_sample=settings.do_sample,
        eos_token_id=list(stop_ids),
        pad_token_id=pad_id,
        **(sampling if settings.do_sample else {}),
    )


@torch.inference_mode()
def _generate_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: dict[int, Sequence[int]],
    config: GenerationConfig,
) -> list[GeneratedSequence]:
    input_ids, attention_mask = _pad_left(list(prompts.values()), config.pad_token_id)
    attention_mask = attention_mask.to(model.device)
    sequences = model.generate(
        input_ids=input_ids.to(model.device), attention_mask=attention_mask, generation_config=config
    )
    generated = sequences[:, input_ids.shape[1] :]
    lengths, finished = _lengths(generated, config.eos_token_id)
    prompt_mask = attention_mask.repeat_interleave(config.num_return_sequences, dim=0)
    totals = _log_probabilities(model, sequences, prompt_mask, lengths)
    # Beam search does not always fill up with padding behind the end.
    ended = [row[:length] for row, length in zip(generated, lengths.tolist(), strict=True)]
    texts = tokenizer.batch_decode(ended, skip_special_tokens=True)
    owners = [prompt for prompt in prompts for _ in range(config.num_return_sequences)]
    rows = zip(owners, texts, totals.tolist(), lengths.tolist(), finished.tolist(), strict=True)
    return [
        GeneratedSequence(prompt, row % config.num_return_sequences, text, total, length, done)
        for row, (prompt, text, total, length, done) in enumerate(rows)
    ]


def _log_probabilities(
    model: PreTrainedModel, sequences: Tensor, prompt_mask: Tensor, lengths: Tensor
) -> Tensor:
    """Return float64 (batch,): each sequence's log-probability given its prompt.

    One more pass over the whole sequences, a few at a time. `generate` would give the same, but only by
    holding batch × beams × tokens × vocabulary floats, and divided by lengths in beam search.
    """
    num_logits = sequences.shape[1] - prompt_mask.shape[1] + 1
    rows = max(1, LOGITS_AT_A_TIME // (num_logits * int(model.config.get_text_config().vocab_size)))
    # The function, since the method has no types.
    parts = zip(*(torch.split(part, rows) for part in (sequences, prompt_mask, lengths)), strict=True)
    return torch.cat([_log_probabilities_at_once(model, *part) for part in parts])


def _log_probabilities_at_once(
    model: PreTrainedModel, sequences: Tensor, prompt_mask: Tensor, lengths: Tensor
) -> Tensor:
    num_generated = sequences.shape[1] - prompt_mask.shape[1]
    real = torch.arange(num_generated, device=lengths.device) < lengths.unsqueeze(1)
    mask = torch.cat([prompt_mask, real.long()], dim=1)
    # Padding on the left must not move a token's position.
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    logits = model(
        input_ids=sequences,
        attention_mask=mask,
        position_ids=positions,
        logits_to_keep=num_generated + 1,
        use_cache=False,
    ).logits[:, :-1]
    chosen = sequences[:, -num_generated:].unsqueeze(2)
    each = logits.float().log_softmax(dim=2).gather(2, chosen).squeeze(2).double()
    return torch.where(real, each, 0.0).sum(dim=1)


def _pad_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return input ids and attention mask, both int64 (batch, longest prompt)."""
    longest = max(len(prompt) for prompt in prompts)
    input_ids = torch.full((len(prompts), longest), pad_id)
    attention_mask = torch.zeros_like(input_ids)
    for row, prompt in enumerate(prompts):
        input_ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        attention_mask[row, longest - len(prompt) :] = 1
    return input_ids, attention_mask


def _lengths(generated: Tensor, stop_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return (batch,) tokens up to and including the first stop token, and whether there was one."""
    is_stop = torch.isin(generated, torch.tensor(stop_ids, device=generated.device))
    finished = is_stop.any(dim=1)
    first_stop = is_stop.int().argmax(dim=1) + 1
    return torch.where(finished, first_stop, generated.shape[1]), finished

"""Generating sequences for a list of prompts, in batches of similar length, with their probabilities."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from rankfold.evaluation.prompts import PromptBatch, read_prompts
from rankfold.evaluation.sampling import sampling_processors
from rankfold.evaluation.scoring import LogProbabilityRecord, log_probabilities
from rankfold.evaluation.sources import SourceBatch, kept_settings, read_sources
from rankfold.recipe.schema import Evaluation


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

    An encoder-decoder's prompts are what its encoder reads.

    What is generated for a prompt depends on it alone, and sampling on `seed` and the prompt's index too: not
    on the prompts beside it, up to the model's arithmetic, whose last bits may differ with a batch's shape.
    Only beams that are sampled draw from one stream. Each prompt is read once for all its sequences and
    their probabilities; its keys and values stay in memory beside those `generate` holds for each sequence.
    """
    torch.manual_seed(seed)
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    size = settings.per_device_eval_batch_size
    has_encoder = bool(model.config.is_encoder_decoder)
    kept = kept_settings(model) if has_encoder else {}
    config = _generation_config(settings, stop_ids, int(tokenizer.pad_token_id), kept)
    read = read_sources if has_encoder else read_prompts
    # Left to itself `generate` fills what a configuration leaves empty from the model's own, such as
    # a repetition penalty meant for chatting.
    model.generation_config = config
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        batch = read(model, [prompts[index] for index in indices], config.pad_token_id)
        # Beams change rows, and forbidden words are struck out before a record sees the model's own logits.
        record = None if settings.num_beams > 1 or config.bad_words_ids else LogProbabilityRecord()
        generated = _generated(model, batch, indices, settings, seed, record)
        yield _scored(model, tokenizer, batch, indices, generated, record)


def _has_own_draws(settings: Evaluation) -> bool:
    return settings.do_sample and settings.num_beams == 1


def _generation_config(
    settings: Evaluation, stop_ids: Sequence[int], pad_id: int, kept: Mapping[str, Any]
) -> GenerationConfig:
    search: dict[str, Any] = dict(kept)
    # With draws of its own, every sequence is a row that takes the one token its processors leave.
    if not _has_own_draws(settings):
        search |= {
            "num_beams": settings.num_beams,
            "num_return_sequences": settings.num_return_sequences,
            "do_sample": settings.do_sample,
        }
        if settings.do_sample:
            search |= {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    return GenerationConfig(
        max_new_tokens=settings.max_new_tokens, eos_token_id=list(stop_ids), pad_token_id=pad_id, **search
    )


@torch.inference_mode()
def _generated(
    model: PreTrainedModel,
    batch: PromptBatch | SourceBatch,
    indices: Sequence[int],
    settings: Evaluation,
    seed: int,
    record: LogProbabilityRecord | None,
) -> Tensor:
    """Return int64 (prompts × sequences, longest answer)."""
    processors = LogitsProcessorList([] if record is None else [record])
    rows = torch.arange(len(indices), device=model.device)
    if _has_own_draws(settings):
        processors += sampling_processors(settings, indices, batch.length, seed=seed, device=model.device)
        rows = rows.repeat_interleave(settings.num_return_sequences)
    sequences: Tensor = model.generate(
        **batch.inputs_of(rows, settings.num_beams),
        generation_config=model.generation_config,
        logits_processor=processors,
    )
    return sequences[:, batch.length :]


def _scored(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: PromptBatch | SourceBatch,
    indices: Sequence[int],
    generated: Tensor,
    record: LogProbabilityRecord | None,
) -> list[GeneratedSequence]:
    each = len(generated) // len(indices)
    lengths, finished = _lengths(generated, model.generation_config.eos_token_id)
    if record is None:
        owners = torch.arange(len(indices), device=model.device).repeat_interleave(each)
        totals = log_probabilities(model, batch, owners, generated, lengths)
    else:
        totals = record.totals(generated, lengths)
    # Beam search does not always fill up with padding behind the end.
    ended = [row[:length] for row, length in zip(generated, lengths.tolist(), strict=True)]
    texts = tokenizer.batch_decode(ended, skip_special_tokens=True)
    rows = zip(texts, totals.tolist(), lengths.tolist(), finished.tolist(), strict=True)
    return [
        GeneratedSequence(indices[row // each], row % each, text, total, length, done)
        for row, (text, total, length, done) in enumerate(rows)
    ]


def _lengths(generated: Tensor, stop_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return (batch,) tokens up to and including the first stop token, and whether there was one."""
    is_stop = torch.isin(generated, torch.tensor(stop_ids, device=generated.device))
    finished = is_stop.any(dim=1)
    first_stop = is_stop.int().argmax(dim=1) + 1
    return torch.where(finished, first_stop, generated.shape[1]), finished

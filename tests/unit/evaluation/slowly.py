"""Generation the slow way: one prompt, one token, one whole pass at a time; and models to try it on."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from models import chat_tokenizer, recipe
from torch import Tensor
from transformers import (
    Lfm2Config,
    Lfm2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    set_seed,
)

from rankfold.evaluation.generation import GeneratedSequence, generate
from rankfold.recipe.schema import Evaluation

TOKENIZER = chat_tokenizer()
PROMPTS = [
    TOKENIZER(text)["input_ids"]
    for text in ("Who lives in Ulm?", "Paul moved from Berlin to Vienna, where he paints bridges.", "Ulm")
]
INSTRUCTION = TOKENIZER("Name all the people and places of this text, one on a line, and nothing else.")[
    "input_ids"
]
INSTRUCTED = [INSTRUCTION + prompt for prompt in (*PROMPTS, PROMPTS[0])]
"""Prompts that begin alike: one is another's beginning and one another's copy."""
NEVER = [len(TOKENIZER) - 1]
"""A stop token that the model of these tests never writes within so few tokens."""


SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "all beams": {"num_beams": 3, "num_return_sequences": 3},
    "some beams": {"num_beams": 3, "num_return_sequences": 2},
    "samples": {"do_sample": True, "num_return_sequences": 3},
}


def small_model(kind: str) -> PreTrainedModel:
    """Two layers and random weights, with a state that is not simply all keys and values."""
    set_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": len(TOKENIZER),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
    }
    if kind == "sliding window":
        return MistralForCausalLM(MistralConfig(sliding_window=8, **shape)).eval()
    return Lfm2ForCausalLM(Lfm2Config(layer_types=["conv", "full_attention"], **shape)).eval()


def settings(**values: Any) -> Evaluation:
    return recipe("generative_ner", evaluation={"max_new_tokens": 6, **values}).evaluation


def sequences(
    model: PreTrainedModel,
    prompts: list[list[int]] = PROMPTS,
    *,
    stop_ids: list[int] = NEVER,
    seed: int = 1,
    **values: Any,
) -> list[GeneratedSequence]:
    batches = generate(model, TOKENIZER, prompts, settings(**values), stop_ids=stop_ids, seed=seed)
    found = [sequence for batch in batches for sequence in batch]
    return sorted(found, key=lambda sequence: (sequence.prompt, sequence.index))


def greedy(model: PreTrainedModel, prompt: list[int], num_tokens: int) -> list[int]:
    ids = list(prompt)
    for _ in range(num_tokens):
        ids.append(int(next_log_probabilities(model, ids).argmax()))
    return ids[len(prompt) :]


@torch.inference_mode()
def next_log_probabilities(model: PreTrainedModel, ids: list[int]) -> Tensor:
    logits: Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    return logits.double().log_softmax(dim=0)


def log_probability(model: PreTrainedModel, prompt: list[int], answer: list[int]) -> float:
    return sum(
        float(next_log_probabilities(model, prompt + answer[:place])[token])
        for place, token in enumerate(answer)
    )


def answers(batches: list[Tensor], prompts: list[list[int]], lengths: Iterator[int]) -> list[list[int]]:
    """The generated ids of a single batch, cut at each sequence's length."""
    (batch,) = batches
    longest = max(map(len, prompts))
    return [row[longest : longest + length].tolist() for row, length in zip(batch, lengths, strict=True)]


def recorded(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The ids of every batch that `generate` returns from now on, prompts included."""
    batches: list[Tensor] = []
    original = model.generate

    def spy(**options: Any) -> Tensor:
        batches.append(original(**options))
        return batches[-1]

    monkeypatch.setattr(model, "generate", spy)
    return batches

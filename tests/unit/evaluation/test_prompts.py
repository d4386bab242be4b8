"""Prompts that are read once, by models that can share what they made of them and by models that cannot."""

from functools import wraps
from typing import Any

import pytest
import torch
from models import absolute_causal_model, causal_model
from torch import Tensor
from transformers import PreTrainedModel

from rankfold.evaluation.prompts import read_prompts

from .slowly import (
    INSTRUCTED,
    INSTRUCTION,
    PROMPTS,
    SEARCHES,
    TOKENIZER,
    answers,
    greedy,
    log_probability,
    recorded,
    sequences,
    small_model,
)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_prompt_is_read_once_for_all_its_sequences_and_their_probabilities(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, search: dict[str, Any]
) -> None:
    read: list[tuple[int, int]] = []
    original = model.forward

    @wraps(original)  # `generate` looks at the signature
    def spy(*arguments: Any, **options: Any) -> Any:
        read.append(tuple(options["input_ids"].shape))
        return original(*arguments, **options)

    monkeypatch.setattr(model, "forward", spy)
    sequences(model, **search)
    (num_prompts, columns), *steps = read
    if "num_beams" in search:
        # Its probabilities are not known before all beams have ended.
        assert steps.pop() == (len(PROMPTS) * search["num_return_sequences"], 6)
    rows = len(PROMPTS) * max(search.get("num_beams", 1), search.get("num_return_sequences", 1))
    assert (num_prompts, columns) == (len(PROMPTS), max(map(len, PROMPTS)) - 1)
    assert steps == [(rows, 1)] * 6


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_prompt_of_one_token_leaves_nothing_to_share(
    model: PreTrainedModel, written: list[Tensor], search: dict[str, Any]
) -> None:
    prompt = PROMPTS[0][:1]
    found = sequences(model, [prompt], **search)
    ids = answers(written, [prompt], iter([one.num_tokens for one in found]))
    for one, answer in zip(found, ids, strict=True):
        assert one.log_probability == pytest.approx(log_probability(model, prompt, answer), abs=1e-4)


@pytest.mark.parametrize("kind", ["sliding window", "convolution"])
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_model_that_keeps_something_else_than_all_keys_and_values_is_scored_as_well(
    kind: str, search: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(kind)
    batches = recorded(model, monkeypatch)
    # One batch in the order of `sequences`, and long enough for the window to close.
    prompts = sorted(PROMPTS, key=len, reverse=True)
    found = sequences(model, prompts, **search)
    ids = answers(batches, prompts, iter([one.num_tokens for one in found]))
    for one, answer in zip(found, ids, strict=True):
        expected = log_probability(model, prompts[one.prompt], answer)
        assert one.log_probability == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("places", ["rotary", "absolute", "sliding window"])
def test_prompts_that_begin_alike_get_what_they_get_one_by_one(
    places: str, search: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    makes = {"rotary": causal_model, "absolute": absolute_causal_model}
    model = makes[places](TOKENIZER) if places in makes else small_model(places)
    batches = recorded(model, monkeypatch)
    prompts = sorted(INSTRUCTED, key=len, reverse=True)
    found = sequences(model, prompts, **search)
    ids = answers(batches, prompts, iter([one.num_tokens for one in found]))
    for one, answer in zip(found, ids, strict=True):
        prompt = prompts[one.prompt]
        assert one.log_probability == pytest.approx(log_probability(model, prompt, answer), abs=1e-4)
        assert search or answer == greedy(model, prompt, 6)


def test_what_all_prompts_begin_with_is_read_once(model: PreTrainedModel) -> None:
    longest, num_shared = max(map(len, INSTRUCTED)), len(INSTRUCTION)
    read = shapes_read(model, INSTRUCTED)
    assert read == [(1, num_shared), (len(INSTRUCTED), longest - 1 - num_shared)]
    assert shapes_read(model, INSTRUCTED[:1]) == [(1, len(INSTRUCTED[0]) - 1)]
    # The same prompt again and again is read once but for the token that `generate` starts from.
    assert shapes_read(model, INSTRUCTED[:1] * 3) == [(1, len(INSTRUCTED[0]) - 1)]
    assert read_prompts(model, INSTRUCTED[:1] * 3, pad_id=0).num_cached == len(INSTRUCTED[0]) - 1


def shapes_read(model: PreTrainedModel, prompts: list[list[int]]) -> list[tuple[int, int]]:
    """The shape of the ids of each pass in which the model reads these prompts."""
    shapes: list[tuple[int, int]] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, options: shapes.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    read_prompts(model, prompts, pad_id=0)
    hook.remove()
    return shapes


def test_only_keys_and_values_are_shared(model: PreTrainedModel) -> None:
    assert read_prompts(model, PROMPTS, pad_id=0).num_cached == max(map(len, PROMPTS)) - 1
    assert read_prompts(small_model("sliding window"), PROMPTS, pad_id=0).cache is not None
    # Its convolutions keep a state of their own.
    assert read_prompts(small_model("convolution"), PROMPTS, pad_id=0).cache is None


def test_a_copy_that_grows_leaves_the_prompts_keys_and_values_alone(model: PreTrainedModel) -> None:
    prompts = read_prompts(model, PROMPTS, pad_id=0)
    assert prompts.cache is not None
    before = [(keys.clone(), values.clone()) for keys, values, _ in prompts.cache]
    copied, again = (prompts.cache_of(torch.tensor([2, 0, 0])) for _ in range(2))
    assert copied is not None
    assert again is not None
    copied.layers[0].keys.zero_()
    copied.crop(-1)
    for (keys, values, _), (old_keys, old_values) in zip(prompts.cache, before, strict=True):
        assert torch.equal(keys, old_keys)
        assert torch.equal(values, old_values)
    assert torch.equal(again.layers[0].keys, before[0][0][[2, 0, 0]])

"""Frozen parameters: named by patterns, or the lowest layers with the embeddings below them."""

from pathlib import Path
from typing import Any

import pytest
from models import causal_model, chat_tokenizer, encoder_model, encoder_tokenizer
from tiny_t5 import t5_model, t5_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from rankfold.errors import ModelError
from rankfold.modeling.freeze import freeze
from rankfold.recipe.schema import Model


def settings(**values: Any) -> Model:
    return Model(name_or_path="unread", **values)


def trained(model: PreTrainedModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_patterns_freeze_what_they_fit_and_nothing_else() -> None:
    model = encoder_model(encoder_tokenizer())
    every = {name for name, _ in model.named_parameters()}
    freeze(model, settings(freeze=("embeddings.*", "*.attention.*.bias")))
    frozen = every - trained(model)
    assert frozen == {
        name
        for name in every
        if name.startswith("embeddings.") or (".attention." in name and name.endswith(".bias"))
    }
    assert len(frozen) > 5


def test_a_pattern_that_fits_nothing_names_what_is_near() -> None:
    with pytest.raises(ModelError, match=r"no parameter has a name like 'embedding\.word") as caught:
        freeze(encoder_model(encoder_tokenizer()), settings(freeze=("embedding.word_embeddings.weight",)))
    assert "embeddings.word_embeddings.weight" in caught.value.message
    assert caught.value.where == "model.freeze"


MODELS = {
    "bert": (lambda: encoder_model(encoder_tokenizer()), ("embeddings.", "encoder.layer.0.")),
    "distilbert": (
        lambda: encoder_model(encoder_tokenizer(), kind="distilbert"),
        ("embeddings.", "transformer.layer.0."),
    ),
    "qwen2": (lambda: causal_model(chat_tokenizer()), ("model.embed_tokens.", "model.layers.0.")),
    "gpt2": (
        lambda: GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=20)),
        ("transformer.wte.", "transformer.wpe.", "transformer.h.0."),
    ),
    "t5": (
        lambda: t5_model(t5_tokenizer()),
        ("shared.", "encoder.embed_tokens.", "decoder.embed_tokens.", "encoder.block.0.", "decoder.block.0."),
    ),
}


@pytest.mark.parametrize(("build", "frozen"), MODELS.values(), ids=MODELS.keys())
def test_the_lowest_layers_and_the_embeddings_below_them_are_frozen(build: Any, frozen: Any) -> None:
    model = build()
    every = {name for name, _ in model.named_parameters()}
    freeze(model, settings(num_frozen_layers=1))
    assert trained(model) == {name for name in every if not name.startswith(frozen)}
    assert trained(model) not in (set(), every)


def test_more_layers_than_there_are_are_refused() -> None:
    with pytest.raises(ModelError, match=r"3 layers are to be frozen, but model\.layers has 2") as caught:
        freeze(causal_model(chat_tokenizer()), settings(num_frozen_layers=3))
    assert caught.value.remedy == "Write at most 2."


def test_nothing_left_to_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="every parameter is frozen"):
        freeze(causal_model(chat_tokenizer()), settings(freeze=("*",)))

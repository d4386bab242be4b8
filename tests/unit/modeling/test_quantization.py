"""Base models in few bits: their settings, and what is said where they cannot be had."""

import importlib.machinery
from pathlib import Path
from typing import Any

import pytest
import torch

from rankfold.errors import ModelError
from rankfold.modeling import quantization
from rankfold.modeling.load import load_model
from rankfold.modeling.parameters import num_elements
from rankfold.recipe.schema import Model, Quantization


def quantised(**settings: Any) -> Model:
    return Model(name_or_path="unread", torch_dtype="bfloat16", quantization=Quantization(**settings))


def test_the_recipe_s_words_are_transformers_settings() -> None:
    config = quantization.settings_of(Quantization(bnb_4bit_quant_type="fp4"), torch.bfloat16)
    assert (config.load_in_4bit, config.load_in_8bit) == (True, False)
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("fp4", True)
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    eight = quantization.settings_of(Quantization(bits=8), torch.bfloat16)
    assert (eight.load_in_4bit, eight.load_in_8bit) == (False, True)


def test_no_quantisation_needs_nothing() -> None:
    assert quantization.quantization_config(Model(name_or_path="unread")) is None


def test_without_bitsandbytes_it_is_refused_with_a_remedy(
    causal_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="4 bits needs bitsandbytes, which is not installed") as caught:
        load_model(causal_folder, quantised(), "AutoModelForCausalLM")
    assert caught.value.where == "model.quantization"
    assert caught.value.remedy.startswith("pip install bitsandbytes")


def test_without_a_gpu_it_is_refused_where_bitsandbytes_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = importlib.machinery.ModuleSpec("bitsandbytes", None)
    monkeypatch.setattr(quantization, "find_spec", lambda name: spec)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="8 bits needs a GPU"):
        quantization.quantization_config(quantised(bits=8))


class Params4bit(torch.nn.Parameter):
    """Stands in for bitsandbytes' class, which is known by its name."""


@pytest.mark.parametrize("storage", [torch.uint8, torch.bfloat16])
def test_weights_in_4_bits_count_as_many_as_they_are(storage: torch.dtype) -> None:
    weights = 6 * 8
    packed = torch.zeros(weights // 2 // storage.itemsize, 1, dtype=storage)
    assert num_elements(Params4bit(packed, requires_grad=False)) == weights
    assert num_elements(torch.nn.Parameter(torch.zeros(6, 8))) == weights

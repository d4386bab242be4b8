from pathlib import Path

import pytest
from transformers import PreTrainedModel

from rankfold.errors import ModelError
from rankfold.modeling.adapters import add_adapter, count_parameters
from rankfold.modeling.load import load_model
from rankfold.recipe.schema import Adapter, Model


@pytest.fixture
def model(causal_folder: Path) -> PreTrainedModel:
    return load_model(causal_folder, Model(name_or_path="unread"), "AutoModelForCausalLM").model


def trainable(model: PreTrainedModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_only_the_named_layers_are_trained(model: PreTrainedModel) -> None:
    adapted = add_adapter(model, Adapter(r=2, target_modules=("q_proj", "v_proj")), "CAUSAL_LM")
    names = trainable(adapted)
    assert len(names) == 2 * 2 * 2  # layers × targets × (A, B)
    assert all("lora_" in name and (".q_proj." in name or ".v_proj." in name) for name in names)


def test_all_linear_means_every_linear_layer_but_the_output(model: PreTrainedModel) -> None:
    names = trainable(add_adapter(model, Adapter(r=2), "CAUSAL_LM"))
    assert len(names) == 2 * 7 * 2
    assert not any("lm_head" in name or "embed" in name for name in names)


def test_the_adapter_s_settings_take_effect(model: PreTrainedModel) -> None:
    adapted = add_adapter(model, Adapter(r=3, lora_alpha=12, lora_dropout=0.25), "CAUSAL_LM")
    layer = adapted.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    assert layer.r["default"] == 3
    assert layer.scaling["default"] == 4.0
    assert layer.lora_dropout["default"].p == 0.25


@pytest.mark.parametrize("targets", [("k_porj",), ("q_proj", "k_porj"), ("proj",)])
def test_a_layer_that_the_model_does_not_have_is_refused_even_beside_others(
    model: PreTrainedModel, targets: tuple[str, ...]
) -> None:
    with pytest.raises(ModelError) as caught:
        add_adapter(model, Adapter(target_modules=targets), "CAUSAL_LM")
    assert caught.value.message == f"the model has no layer named {targets[-1]}"
    assert "down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj" in caught.value.remedy


def test_a_layer_that_takes_no_adapter_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(ModelError, match="no adapter could be added") as caught:
        add_adapter(model, Adapter(target_modules=("act_fn",)), "CAUSAL_LM")
    assert "q_proj" in caught.value.remedy


def test_a_layer_may_be_named_with_what_stands_before_it(model: PreTrainedModel) -> None:
    names = trainable(add_adapter(model, Adapter(target_modules=("self_attn.q_proj",)), "CAUSAL_LM"))
    assert len(names) == 2 * 2


def test_parameters_are_counted_with_the_tied_ones_once(model: PreTrainedModel) -> None:
    total = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(model) == (total, total)
    adapted = add_adapter(model, Adapter(r=2, target_modules=("q_proj",)), "CAUSAL_LM")
    new = 2 * 2 * (32 + 32)
    assert count_parameters(adapted) == (new, total + new)

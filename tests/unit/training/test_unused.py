"""Models of which some batches use a part only: they are known, and refused where ranks cannot train them."""

import pytest
import torch
from deepspeed.utils import z3_leaf_module
from peft import LoraConfig, get_peft_model
from torch.nn import Linear, ModuleList
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    SwitchTransformersConfig,
    SwitchTransformersForConditionalGeneration,
)

from rankfold.errors import RecipeError
from rankfold.training.unused import experts, ready_for_zero, uses_change

TINY = {"vocab_size": 20, "d_model": 8}


def apart() -> PreTrainedModel:
    """Experts with weights of their own, in one layer of the encoder and one of the decoder."""
    shape = {"d_kv": 4, "d_ff": 8, "num_layers": 2, "num_heads": 2, "num_experts": 3}
    sparse = {"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}
    return SwitchTransformersForConditionalGeneration(SwitchTransformersConfig(**TINY, **shape, **sparse))


def fused() -> PreTrainedModel:
    """Experts whose weights are one tensor."""
    shape = {"vocab_size": 20, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 3}
    return MixtralForCausalLM(MixtralConfig(**shape, **heads))


def dropping(encoder: float) -> PreTrainedModel:
    """Leaves out layers of its encoder."""
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_layerdrop": encoder, "decoder_layerdrop": 0}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return M2M100ForConditionalGeneration(M2M100Config(**TINY, **layers, **heads))


def test_experts_that_are_modules_of_their_own_are_found_by_what_is_called() -> None:
    model = apart()
    assert experts(model) == [
        model.encoder.block[1].layer[1].mlp.experts,
        model.decoder.block[1].layer[2].mlp.experts,
    ]
    holder = torch.nn.Module()
    holder.experts = ModuleList(Linear(2, 2) for _ in range(2))
    assert experts(torch.nn.Sequential(holder)) == [holder]


def test_weights_that_every_batch_needs_are_not_waited_for_in_vain() -> None:
    assert uses_change(apart())
    assert uses_change(dropping(0.1))
    assert not uses_change(fused())
    assert not uses_change(dropping(0.0))


@pytest.mark.parametrize("strategy", ["zero1", "zero2"])
def test_zero_that_sums_gradients_as_they_come_takes_no_trained_experts(strategy: str) -> None:
    with pytest.raises(RecipeError, match=f"is {strategy}, but the model has experts") as refused:
        ready_for_zero(apart(), strategy)
    assert refused.value.where == "distributed.strategy"
    beside = get_peft_model(apart(), LoraConfig(target_modules=["q", "v"]))
    ready_for_zero(beside, strategy)
    ready_for_zero(fused(), strategy)


def test_zero_3_gathers_all_experts_of_a_layer_together() -> None:
    model = apart()
    ready_for_zero(model, "zero3")
    assert [module for module in model.modules() if z3_leaf_module(module)] == experts(model)


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3"])
def test_layers_left_out_at_random_are_refused_under_zero(strategy: str) -> None:
    with pytest.raises(RecipeError, match=r"at random \(encoder_layerdrop\)") as refused:
        ready_for_zero(dropping(0.1), strategy)
    assert "Set model.config.encoder_layerdrop: 0, or use ddp." in refused.value.remedy
    ready_for_zero(dropping(0.0), strategy)
    ready_for_zero(dropping(0.1), "ddp")

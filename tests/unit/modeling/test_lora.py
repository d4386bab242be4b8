"""LoRA layers that round once: what PEFT's compute, and small updates that do not vanish in bfloat16."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear as TheirLinear
from torch import Tensor, nn

from rankfold.modeling.lora import LinearRoundedOnce, round_once

WIDTH = 96


def layers(dtype: torch.dtype = torch.float32, *, bias: bool = True, **settings: Any) -> tuple[Any, Any]:
    """The same layer twice, its adapter a little trained: PEFT's and ours."""
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        base = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=bias)).to(dtype)
        model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=["0"], **settings))
        layer = model.base_model.model[0]
        with torch.no_grad():
            layer.lora_B["default"].weight.uniform_(-1e-3, 1e-3)
        made.append((model, layer))
    round_once(made[1][0])
    return made[0][1], made[1][1]


def texts(dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(4, 64, WIDTH).to(dtype)


@torch.no_grad()
def update_in_output(layer: Any, output: Tensor, x: Tensor) -> float:
    """How much of the adapter's update is in an output: 1 is all of it, 0 none (least squares)."""
    base, scaling = layer.base_layer, layer.scaling["default"]
    product = x.double() @ base.weight.double().T + (0 if base.bias is None else base.bias.double())
    update = (x.double() @ layer.lora_A["default"].weight.double().T) @ layer.lora_B[
        "default"
    ].weight.double().T
    update *= scaling
    return float(((output.double() - product) * update).sum() / update.square().sum())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_small_updates_do_not_vanish_in_bfloat16(autocast: bool, bias: bool) -> None:
    theirs, ours = layers(torch.float32 if autocast else torch.bfloat16, bias=bias)
    for layer in (theirs, ours):
        layer.lora_B["default"].weight.data *= 0.1
    x = texts(torch.bfloat16).to(theirs.base_layer.weight.dtype)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = [layer(x) for layer in (theirs, ours)]
    weights = ours.base_layer.weight
    ours.base_layer.weight.data = weights.bfloat16().to(weights.dtype)  # as autocast multiplies
    assert [output.dtype for output in found] == [torch.bfloat16] * 2
    their_share, our_share = (update_in_output(ours, output, x) for output in found)
    assert our_share == pytest.approx(1, abs=0.1)
    assert their_share < 0.8


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("use_rslora", [False, True])
def test_in_float32_output_and_gradients_are_peft_s(use_rslora: bool, bias: bool) -> None:
    theirs, ours = layers(bias=bias, use_rslora=use_rslora)
    gradients = []
    for layer in (theirs, ours):
        x = texts().requires_grad_()
        (layer(x) * texts()).sum().backward()
        trained = [layer.lora_A["default"].weight.grad, layer.lora_B["default"].weight.grad]
        gradients.append([layer(x).detach(), x.grad, *trained])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def disabled(layer: Any) -> None:
    layer.enable_adapters(False)


def merged(layer: Any) -> None:
    layer.merge()


def second_adapter(layer: Any) -> None:
    layer.update_layer("second", 4, 8, config=LoraConfig(r=4, init_lora_weights=False))
    layer.set_adapter(["default", "second"])
    for weights in (layer.lora_A["second"].weight, layer.lora_B["second"].weight):
        weights.data.fill_(0.1)


@pytest.mark.parametrize("change", [disabled, merged, second_adapter])
def test_what_is_more_than_one_adapter_added_to_a_product_is_left_to_peft(
    change: Callable[[Any], None],
) -> None:
    theirs, ours = layers()
    for layer in (theirs, ours):
        change(layer)
    assert torch.equal(theirs(texts()), ours(texts()))


def test_dora_is_left_to_peft() -> None:
    theirs, ours = layers(use_dora=True)
    assert torch.equal(theirs(texts()), ours(texts()))


def test_every_lora_layer_of_a_model_rounds_once() -> None:
    theirs, ours = layers()
    assert (type(theirs), type(ours)) == (TheirLinear, LinearRoundedOnce)

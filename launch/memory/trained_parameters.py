"""Which parameters a method adds, and which it leaves frozen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from launch.memory.model_shape import Layer, Shape

if TYPE_CHECKING:
    from rankfold.recipe.schema import Adapter


def added_parameters(shape: Shape, adapter: Adapter) -> int:
    """How many parameters a method adds to a model; heads that it trains in full are not among them."""
    if adapter.trains_virtual_tokens:
        return _virtual_token_parameters(shape, adapter)
    layers = adapted(shape, adapter)
    if adapter.method == "ia3":
        return sum(scaled_by_ia3(shape, layer) for layer in layers)
    # DoRA learns the length of each of a weight's rows too.
    lengths = sum(layer.outputs for layer in layers) if adapter.method == "dora" else 0
    return lengths + sum(adapter.r * (layer.inputs + layer.outputs) for layer in layers)


def scaled_by_ia3(shape: Shape, layer: Layer) -> int:
    """Length of a layer's vector: of its output, or of its input where it leaves a block's middle."""
    hidden = shape.block.hidden if shape.block else 0
    return layer.inputs if layer.inputs > layer.outputs == hidden else layer.outputs


def _virtual_token_parameters(shape: Shape, adapter: Adapter) -> int:
    block = shape.block
    if block is None:
        raise ValueError(f"nothing is known about the blocks of {shape.kind}")
    tokens, width = adapter.num_virtual_tokens, adapter.encoder_hidden_size
    if adapter.method == "prompt_tuning":
        return tokens * block.hidden
    if adapter.method == "p_tuning":
        width = width or block.hidden
        return (
            tokens * block.hidden
            + _dense(block.hidden, width)
            + _dense(width, width)
            + _dense(width, block.hidden)
        )
    keys_and_values = 2 * shape.blocks * block.key_value
    if width is None:
        return tokens * keys_and_values
    return tokens * block.key_value + _dense(block.key_value, width) + _dense(width, keys_and_values)


def _dense(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def frozen_parameters(shape: Shape, num_frozen_layers: int) -> int:
    """Parameters of the lowest blocks and of the embeddings below them."""
    if not num_frozen_layers:
        return 0
    return sum(layer.parameters for layer in shape.layers if _is_below(layer, num_frozen_layers))


def _is_below(layer: Layer, number: int) -> bool:
    block = re.search(r"\.(\d+)\.", layer.name)
    return ".embed" in layer.name if block is None else int(block[1]) < number


def adapted(shape: Shape, adapter: Adapter) -> tuple[Layer, ...]:
    """The layers that get an adapter: by PEFT's rule, the whole name or its end after a dot."""
    # The task's own head is trained in full beside the adapter instead.
    fitting = [layer for layer in shape.layers if layer.kind in ("linear", "embedding")]
    if adapter.target_modules == "all-linear":
        # All but a language model's head, which is no part of its blocks.
        return tuple(layer for layer in fitting if layer.kind == "linear" and layer.name != "lm_head")
    ends = tuple(f".{name}" for name in adapter.target_modules)
    return tuple(layer for layer in fitting if f".{layer.name}".endswith(ends))

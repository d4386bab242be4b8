"""What a forward pass keeps for the backward pass: an estimate, by the widths of a model's blocks.

Source: Korthikanti et al. 2022, arXiv:2205.05198, section 4, with the widths of newer architectures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launch.memory.model_shape import Shape
from launch.memory.trained_parameters import adapted, scaled_by_ia3

if TYPE_CHECKING:
    from rankfold.recipe.schema import Recipe

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of an element, by the name of its type."""


def activation_bytes(shape: Shape, recipe: Recipe, width: int) -> int | None:
    """Bytes that the forward pass keeps for the backward pass; `width` bytes an element.

    A block keeps what arXiv:2205.05198 counts in section 4.1, by its own widths instead of 4 h. With
    checkpointing each block keeps its input alone, and one block at a time is computed again.
    """
    if shape.block is None:
        return None
    tokens = recipe.train.per_device_train_batch_size * padded_length(recipe)
    block = tokens * _block_bytes(shape, recipe, width)
    if recipe.train.gradient_checkpointing:
        return shape.blocks * tokens * shape.block.hidden * _stream_width(recipe, width) + block
    # Nothing is kept of frozen blocks below all that is trained.
    return (shape.blocks - recipe.model.num_frozen_layers) * block


def logit_bytes(shape: Shape, recipe: Recipe, width: int) -> int:
    """Logits, and in float32 their copy for the loss, its softmax and their gradient; at full length."""
    tokens = recipe.train.per_device_train_batch_size * padded_length(recipe)
    copies = 3 * 4 + (2 * width if width < 4 else 0)
    return tokens * shape.logits * copies


def padded_length(recipe: Recipe) -> int:
    """Tokens of the longest row, as batches are padded: to a multiple of 8; virtual tokens come first."""
    adapter = recipe.model.trained_adapter
    virtual = adapter.num_virtual_tokens if adapter and adapter.trains_virtual_tokens else 0
    return -(-recipe.data.max_length // 8) * 8 + virtual


def computed_in(recipe: Recipe) -> int:
    """Bytes of an element in which layers compute: ZeRO computes in the precision of the weights."""
    if is_mixed(recipe):
        return 2
    # ZeRO-3 makes the weights in the precision that is trained in.
    return 4 if recipe.distributed.strategy == "zero3" else BYTES[recipe.model.torch_dtype]


def _block_bytes(shape: Shape, recipe: Recipe, width: int) -> int:
    """Bytes a token that one block keeps."""
    block = shape.block
    if block is None:
        raise ValueError(f"nothing is known about the blocks of {shape.kind}")
    hidden, mask = block.hidden, 1 if block.dropout else 0
    # Input of the projections, queries, keys, values, and the input of the output projection.
    attention = width * (hidden + 2 * block.query + 2 * block.key_value) + mask * hidden
    if recipe.model.attn_implementation == "eager":
        attention += block.heads * padded_length(recipe) * (2 * width + mask * (1 + width))
    else:
        attention += 4 * block.heads
    wide = 4 if block.is_gated else 2
    middle = width * (hidden + wide * block.intermediate) + mask * hidden
    norms = 2 * hidden * _stream_width(recipe, width)
    if block.norm_in_float32:
        norms = 2 * hidden * (4 + width)
    return attention + middle + norms + _adapter_bytes(shape, recipe, width)


def _adapter_bytes(shape: Shape, recipe: Recipe, width: int) -> int:
    """Bytes a token and block of an adapter: its own copy of each input, and what it squeezes that into."""
    adapter = recipe.model.trained_adapter
    if adapter is None:
        return 0
    if adapter.trains_virtual_tokens:
        return 0
    layers = [layer for layer in adapted(shape, adapter) if layer.kind == "linear"]
    if adapter.method == "ia3":
        # What each vector is multiplied with.
        return sum(width * scaled_by_ia3(shape, layer) for layer in layers) // max(shape.blocks, 1)
    copied = width + 1 if adapter.lora_dropout else 0
    if width < 4 and not is_mixed(recipe):
        copied = 4
    return sum(copied * layer.inputs + 4 * adapter.r for layer in layers) // max(shape.blocks, 1)


def _stream_width(recipe: Recipe, width: int) -> int:
    """Bytes of an element between blocks: under autocast over float32 weights it stays float32."""
    autocast = is_mixed(recipe) and recipe.distributed.strategy in ("none", "ddp")
    return 4 if autocast and recipe.model.torch_dtype == "float32" else width


def is_mixed(recipe: Recipe) -> bool:
    """Whether training computes in half precision beside float32."""
    return recipe.train.bf16 or recipe.train.fp16

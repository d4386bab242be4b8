"""What a model is made of: sizes of weights, and widths for its activations.

Weights are listed as transformers names them, so that the layers which an adapter's `target_modules` means
can be found by PEFT's own rule.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["linear", "embedding", "other", "head"]


@dataclass(frozen=True)
class Layer:
    """A layer with weights: its name, and its width in and out where an adapter may go on it."""

    name: str
    kind: Kind
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def parameters(self) -> int:
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)


@dataclass(frozen=True)
class Block:
    """Widths of one transformer block, in elements a token.

    Attributes:
        hidden: The stream that runs through all blocks.
        query: All heads' queries together, and so the attention's output.
        key_value: All heads' keys, and again as many values.
        intermediate: The widest layer.
        heads: Attention heads.
        is_gated: Two such wide layers are multiplied, as in Llama.
        norm_in_float32: The norm computes in float32 whatever it gets, as transformers' RMSNorm.
        dropout: Whether dropout is on, so that its masks are kept.
    """

    hidden: int
    query: int
    key_value: int
    intermediate: int
    heads: int
    is_gated: bool
    norm_in_float32: bool
    dropout: bool


@dataclass(frozen=True)
class Shape:
    """A model with its task's head.

    Attributes:
        kind: `model_type` of its configuration.
        layers: Every layer with weights; a tied head is left out.
        blocks: How many transformer blocks.
        block: Their widths; None where the architecture is not known here.
        logits: Outputs of the head a token.
    """

    kind: str
    layers: tuple[Layer, ...]
    blocks: int
    block: Block | None
    logits: int

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)


@dataclass(frozen=True)
class Unknown:
    """Why nothing can be said about a model."""

    reason: str

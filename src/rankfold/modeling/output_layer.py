"""The layer that makes logits, which in language models is by far the widest."""

from typing import Any

from torch.nn import Linear, Module
from transformers import PreTrainedModel


def multiply_in_one_piece(model: PreTrainedModel) -> None:
    """Have the output layer get its input in one piece of memory.

    Of a slice of each text, as `logits_to_keep` leaves it, torch multiplies every text by its own copy of the
    weights, unless they are trained (should_fold in ATen's LinearAlgebra.cpp): with a vocabulary of 49,152
    and batches of 4 that was a fifth of a LoRA step on a CPU.
    """
    layer = model.get_output_embeddings()
    if isinstance(layer, Linear):
        layer.register_forward_pre_hook(_in_one_piece)


def _in_one_piece(_: Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    hidden, *rest = arguments
    return hidden.contiguous(), *rest

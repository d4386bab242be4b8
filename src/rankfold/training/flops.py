"""How many operations training needs, and how many a device could do: model FLOPs utilisation."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel, TrainingArguments

from rankfold.modeling.parameters import num_elements
from rankfold.training.throughput import Work

PEAK_TFLOPS: Mapping[str, tuple[float, float, float]] = {
    "B200": (2250, 1100, 75),
    "H200": (989, 494, 67),
    "H100 NVL": (835, 417, 60),
    "H100 PCIe": (756, 378, 51),
    "H100": (989, 494, 67),
    "H800": (989, 494, 67),
    "GH200": (989, 494, 67),
    "A100": (312, 156, 19.5),
    "A800": (312, 156, 19.5),
    "L40S": (362, 183, 91.6),
    "L4": (121, 60, 30.3),
    "A10": (125, 62.5, 31.2),
    "A30": (165, 82, 10.3),
    "V100": (125, 15.7, 15.7),
    "T4": (65, 8.1, 8.1),
}
"""Card → 10¹² operations a second in 16 bits, TensorFloat-32 and float32, dense, as NVIDIA gives them.

A longer name stands before the one it begins with. Cards without TensorFloat-32 compute in float32 instead.
"""

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def peak_flops(card: str, args: TrainingArguments, dtype: torch.dtype) -> float | None:
    """Operations that a card can do in a second in the precision of a training.

    None for an unknown card, and for a part of one: its name does not say how large it is.
    """
    words = set(card.replace("-", " ").split())
    if "MIG" in words:
        return None
    for name, (half, tf32, single) in PEAK_TFLOPS.items():
        if set(name.split()) <= words:
            if args.bf16 or args.fp16 or dtype in (torch.bfloat16, torch.float16):
                return half * 1e12
            return (tf32 if torch.backends.cuda.matmul.fp32_precision == "tf32" else single) * 1e12
    return None


def training_flops(model: torch.nn.Module) -> Callable[[Work], float | None]:
    """Return what counts the operations that training a model on some work needs.

    6 operations a weight and token, of which 2 are for the weight's gradient and not needed where it is
    frozen; and 12 · layers · width a token and token of its text (Chowdhery et al., 2022, PaLM, appendix B,
    which counts causal attention in full too). Recomputed activations and padding are not needed work. Tokens
    are looked up in an embedding, not multiplied, but for one that is the output layer too.

    It knows nothing of models of several stacks or of experts: None.
    """
    config = getattr(model, "config", None)
    layers, width = (getattr(config, name, None) for name in ("num_hidden_layers", "hidden_size"))
    uncounted = getattr(config, "is_encoder_decoder", False) or any(
        getattr(config, name, None) for name in _EXPERTS
    )
    if not layers or not width or uncounted:
        return lambda work: None
    looked_up = _lookup_only(model)
    sizes = [
        (num_elements(parameter), parameter.requires_grad)
        for parameter in model.parameters()
        if id(parameter) not in looked_up
    ]
    weights, trained = sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)
    return lambda work: (
        (4 * weights + 2 * trained) * work.tokens + 12.0 * layers * width * work.squared_lengths
    )


def _lookup_only(model: Any) -> set[int]:
    """The parameters of embeddings that are no output layer."""
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = inner.get_output_embeddings()
    multiplied = id(head.weight) if head is not None else None
    return {id(module.weight) for module in inner.modules() if isinstance(module, torch.nn.Embedding)} - {
        multiplied
    }

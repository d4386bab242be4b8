"""Base models in 4 or 8 bits, by bitsandbytes (QLoRA, Dettmers et al., 2023)."""

from importlib.util import find_spec

import torch
from peft import prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig, PreTrainedModel

from rankfold.errors import ModelError
from rankfold.recipe.schema import Model, Quantization

_WHERE = "model.quantization"


def quantization_config(model: Model) -> BitsAndBytesConfig | None:
    """transformers' settings of a recipe's quantisation; None where it asks for none.

    Raises:
        ModelError: bitsandbytes is not installed, or there is no GPU here.
    """
    wanted = model.quantization
    if wanted is None:
        return None
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f"a base model in {wanted.bits} bits needs bitsandbytes, which is not installed",
            where=_WHERE,
            remedy="pip install bitsandbytes, or leave model.quantization out.",
        )
    if not torch.cuda.is_available():
        raise ModelError(
            f"a base model in {wanted.bits} bits needs a GPU, and there is none here",
            where=_WHERE,
            remedy="Ask for GPUs in resources, or leave model.quantization out.",
        )
    return settings_of(wanted, getattr(torch, model.torch_dtype))


def settings_of(wanted: Quantization, compute_dtype: torch.dtype) -> BitsAndBytesConfig:
    """The recipe's words as transformers'; products are computed in `compute_dtype`."""
    if wanted.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=wanted.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=wanted.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def ready_to_train(model: PreTrainedModel) -> PreTrainedModel:
    """Freeze a quantised model and make what is left of its floats float32, as PEFT advises."""
    # Checkpointing is the Trainer's business.
    prepared: PreTrainedModel = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return prepared

"""Putting a PEFT adapter on a model, as the recipe says."""

from collections.abc import Sequence

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from rankfold.errors import ModelError
from rankfold.recipe.schema import Adapter

TRAINED_IN_FULL = {"QUESTION_ANS": ["qa_outputs"], "TOKEN_CLS": ["classifier", "score"]}
"""Heads that PEFT trains beside the adapter, by task type; all-linear would put an adapter on them too."""


def add_adapter(model: PreTrainedModel, adapter: Adapter, peft_task_type: str) -> PeftModel:
    """Freeze the model and add trainable adapter weights.

    Raises:
        ModelError: `target_modules` names a layer that the model does not have, or that takes no adapter.
    """
    targets = adapter.target_modules
    remedy = "Use all-linear, or name some of: " + ", ".join(_linear_layer_names(model)) + "."
    # PEFT is content as soon as one of the names fits, and trains less than the recipe says.
    unknown = [] if isinstance(targets, str) else _unknown_layers(model, targets)
    if unknown:
        raise ModelError(
            f"the model has no layer named {', '.join(unknown)}",
            where="model.adapter.target_modules",
            remedy=remedy,
        )
    config = LoraConfig(
        task_type=peft_task_type,
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        lora_dropout=adapter.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=TRAINED_IN_FULL.get(peft_task_type),
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"no adapter could be added: {error}",
            where="model.adapter.target_modules",
            remedy=remedy,
        ) from error


def count_parameters(model: PreTrainedModel | PeftModel) -> tuple[int, int]:
    """Return (trainable, all) parameters; those that DeepSpeed has partitioned count in full."""
    sizes = [
        (getattr(parameter, "ds_numel", parameter.numel()), parameter.requires_grad)
        for parameter in model.parameters()
    ]
    return sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes)


def _unknown_layers(model: PreTrainedModel, names: Sequence[str]) -> list[str]:
    # A dot in front makes PEFT's rule, the whole name or its end after a dot, one rule.
    layers = [f".{layer}" for layer, _ in model.named_modules()]
    return [name for name in names if not any(layer.endswith(f".{name}") for layer in layers)]


def _linear_layer_names(model: PreTrainedModel) -> list[str]:
    from torch.nn import Linear

    return sorted({name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, Linear)})

"""Putting a PEFT adapter on a model, as the recipe says."""

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from rankfold.errors import ModelError
from rankfold.recipe.schema import Adapter


def add_adapter(model: PreTrainedModel, adapter: Adapter, peft_task_type: str) -> PeftModel:
    """Freeze the model and add trainable adapter weights.

    Raises:
        ModelError: The model has none of the layers that `target_modules` names.
    """
    targets = adapter.target_modules
    config = LoraConfig(
        task_type=peft_task_type,
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        lora_dropout=adapter.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"no adapter could be added: {error}",
            where="model.adapter.target_modules",
            remedy="Use all-linear, or name some of: " + ", ".join(_linear_layer_names(model)) + ".",
        ) from error


def count_parameters(model: PreTrainedModel | PeftModel) -> tuple[int, int]:
    """Return (trainable, all) parameters; those that DeepSpeed has partitioned count in full."""
    sizes = [
        (getattr(parameter, "ds_numel", parameter.numel()), parameter.requires_grad)
        for parameter in model.parameters()
    ]
    return sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes)


def _linear_layer_names(model: PreTrainedModel) -> list[str]:
    from torch.nn import Linear

    return sorted({name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, Linear)})

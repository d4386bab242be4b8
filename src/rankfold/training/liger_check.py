"""Whether Liger's kernels are in the model: found out, since both libraries only log that they are not."""

from typing import Any

from torch.nn import Module
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rankfold.errors import ModelError


class LigerCheck(TrainerCallback):  # type: ignore[misc]
    """Before the first step, refuses a model that the Trainer has just found no kernels for."""

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel,
        **kwargs: Any,
    ) -> None:
        if not num_liger_modules(model):
            raise ModelError(
                f"Liger has no kernels for {model.config.model_type}, so none was applied",
                where="train.use_liger_kernel",
                remedy="Submit it again with train.use_liger_kernel=false.",
            )


def num_liger_modules(model: Module) -> int:
    """How many of a model's modules compute with Liger's kernels, which are bound to them as `forward`."""
    return sum(module.forward.__module__.startswith("liger_kernel.") for module in model.modules())

"""transformers' Trainer with a learning rate for new heads and this project's own evaluation."""

from typing import Any

import torch
from torch.optim import Optimizer
from transformers import Trainer, TrainerControl

from rankfold.errors import RecipeError
from rankfold.training.validation import Validation


class FineTuningTrainer(Trainer):  # type: ignore[misc]
    """The Trainer, with `head_learning_rate` for parameters that the model's files did not hold."""

    def __init__(
        self,
        *,
        head_learning_rate: float | None,
        new_parameters: frozenset[str],
        validation: Validation | None = None,
        **options: Any,
    ):
        # The Trainer only wants to know that there is a data set where it is to evaluate.
        super().__init__(eval_dataset=validation.set.features if validation else None, **options)
        self._head_learning_rate = head_learning_rate
        self._new_parameters = new_parameters
        self._validation = validation

    def create_optimizer(self, model: torch.nn.Module | None = None) -> Optimizer:
        """Build the Trainer's optimizer, then give the new head groups of its own."""
        optimizer: Optimizer = super().create_optimizer(model)
        if self._head_learning_rate is not None:
            head = {
                id(parameter)
                for name, parameter in (model or self.model).named_parameters()
                if _original_name(name) in self._new_parameters
            }
            split_groups(optimizer, head, self._head_learning_rate)
        return optimizer

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the validation set; the Trainer's own would gather every rank's logits.

        Raises:
            NumericalError: The model gave NaN or infinity.
            RecipeError: The task has no metric of the name that says which checkpoint is best.
        """
        if self._validation is None or eval_dataset is not None:
            raise ValueError("this trainer evaluates its own validation set, and has to be given one")
        found = self._validation.metrics(self.model)
        wanted = self.args.metric_for_best_model
        if wanted not in found:
            raise RecipeError(
                f'there is no metric "{wanted}"; there are {", ".join(found)}',
                where="train.metric_for_best_model",
                remedy="Name one of these.",
            )
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        handler = self.callback_handler
        self.control: TrainerControl = handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def split_groups(optimizer: Optimizer, head: set[int], head_learning_rate: float) -> None:
    """Move the parameters whose id() is in `head` into groups with their own learning rate."""
    for group in list(optimizer.param_groups):
        ours = [parameter for parameter in group["params"] if id(parameter) in head]
        if not ours:
            continue
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in head]
        settings = {key: value for key, value in group.items() if key not in ("params", "lr")}
        optimizer.add_param_group({**settings, "params": ours, "lr": head_learning_rate})


def _original_name(name: str) -> str:
    """Undo the names that PEFT gives to a head that is trained in full beside an adapter."""
    return name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")

"""Weights that the loss of some batch does not depend on, for whose gradients other ranks would wait."""

from collections.abc import Callable

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import Module, ModuleDict, ModuleList
from transformers import PreTrainedModel

from rankfold.distributed import agree
from rankfold.errors import RecipeError
from rankfold.recipe.deepspeed import ZERO_STAGES


def experts(model: Module) -> list[Module]:
    """The modules that send each token to a few of several others, of which a batch may miss some.

    Where transformers fuses the experts of a layer in one tensor, as Mixtral's, each batch needs it.
    """
    found = []
    for name, module in model.named_modules():
        parent, _, own = name.rpartition(".")
        if isinstance(module, ModuleList | ModuleDict) and "expert" in own and len(module) > 1:
            # A mere list is never called: what holds it is.
            is_called = type(module).forward is not Module.forward
            found.append(module if is_called else model.get_submodule(parent))
    return found


def layer_drop(model: PreTrainedModel | PeftModel) -> list[str]:
    """The settings by which a model leaves out whole layers at random, as M2M100 does."""
    settings = model.config.to_dict()
    return [name for name, value in settings.items() if name.endswith("layerdrop") and value]


def uses_change(model: PreTrainedModel | PeftModel) -> bool:
    """Whether the loss depends on other trained weights from batch to batch; one batch does not show it."""
    trains = any(weight.requires_grad for module in experts(model) for weight in module.parameters())
    return trains or bool(layer_drop(model))


def ready_for_zero(model: PreTrainedModel | PeftModel, strategy: str) -> None:
    """Have ZeRO's ranks go the same way though their batches need other weights; call before training.

    Raises:
        RecipeError: Ranks would sum the gradients of one weight with those of another, or wait for ever.
    """
    if strategy not in ZERO_STAGES:
        return
    if dropping := layer_drop(model):
        raise RecipeError(
            f"is {strategy}, but the model leaves out layers at random ({', '.join(dropping)}), each rank "
            "others, and ZeRO takes it that all ranks compute the same ones",
            where="distributed.strategy",
            remedy=f"Set {' and '.join(f'model.config.{name}: 0' for name in dropping)}, or use ddp.",
        )
    if strategy == "zero3":
        from deepspeed.utils import set_z3_leaf_module

        for module in experts(model):
            # Gathered, and their gradients shared, all together or not at all.
            set_z3_leaf_module(module, True)
    elif uses_change(model):
        raise RecipeError(
            f"is {strategy}, but the model has experts that see no token of some batches, and {strategy} "
            "takes it that all ranks have gradients of the same weights",
            where="distributed.strategy",
            remedy="Use ddp or zero3, or an adapter whose target_modules are not in the experts.",
        )


def unused_weights(model: Module, loss: Callable[[], Tensor]) -> list[str]:
    """Find the trained weights that some rank's loss does not depend on; every rank calls this.

    Some models have them: Longformer's global attention where no token has any, BigBird's pooler where tokens
    are classified. The ranks' second step would end in an error unless DistributedDataParallel looks for them
    in each step, which costs time where there are none.

    Args:
        model: What is trained; it is put into training mode.
        loss: Computes the loss of a batch. Nothing is kept to go back through, so it takes no more memory
            than a prediction.

    Returns:
        The names of these weights, the same on every rank.
    """
    model.train()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    # What dropout draws here, training must draw again.
    with torch.random.fork_rng(devices=gpus), torch.autograd.graph.saved_tensors_hooks(_forget, _never):
        found = _leaves(loss())
    unused = agree([id(weight) not in found for weight in trained.values()])
    return [name for name, is_unused in zip(trained, unused, strict=True) if is_unused]


def _forget(_: Tensor) -> None:
    """Keep nothing of what a backward pass would need."""


def _never(_: object) -> Tensor:
    raise AssertionError("nobody goes back through this loss")


def _leaves(loss: Tensor) -> set[int]:
    """The id() of each tensor that gradients of the loss would end in."""
    nodes, seen, found = [loss.grad_fn], set(), set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        nodes += [following for following, _ in node.next_functions]
    return found

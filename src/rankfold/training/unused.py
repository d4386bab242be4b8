"""Weights that the loss does not depend on, for whose gradients DistributedDataParallel would wait."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import Module

from rankfold.distributed import agree
from rankfold.ranks import ranks


def freeze_unused(model: Module, loss: Callable[[], Tensor]) -> list[str]:
    """Have weights that no rank's loss depends on get no gradient; every rank calls this.

    Some models have them: Longformer's global attention where no token has any, BigBird's pooler where tokens
    are classified. No optimizer would change them, but the ranks' second step would end in an error.

    Args:
        model: What is trained; it is put into training mode.
        loss: Computes the loss of a batch. Nothing is kept to go back through, so it takes no more memory
            than a prediction.

    Returns:
        The names of these weights.
    """
    model.train()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    # What dropout draws here, training must draw again.
    with torch.random.fork_rng(devices=gpus), torch.autograd.graph.saved_tensors_hooks(_forget, _never):
        found = _leaves(loss())
    # What one rank uses, all have to exchange.
    used = agree([id(weight) in found for weight in trained.values()])
    unused = [name for name, is_used in zip(trained, used, strict=True) if not is_used]
    for name in unused:
        trained[name].requires_grad_(False)
    if unused and ranks().is_main:
        named = ", ".join(unused[:3]) + (", …" if len(unused) > 3 else "")
        print(f"weights that the loss does not depend on are not trained: {named}", flush=True)
    return unused


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

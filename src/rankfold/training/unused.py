"""Weights that the loss does not depend on, for whose gradients DistributedDataParallel would wait."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import Module

from rankfold.distributed import agree


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

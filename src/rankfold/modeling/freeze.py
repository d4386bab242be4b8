"""Parameters that are not trained: by patterns of their names, or from the bottom of the model up."""

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch.nn import Embedding, ModuleList
from transformers import PreTrainedModel

from rankfold.errors import ModelError
from rankfold.recipe.schema import Model


def freeze(model: PreTrainedModel, settings: Model) -> None:
    """Have the recipe's frozen parameters get no gradient; all ranks alike, sharded or not.

    Raises:
        ModelError: A pattern fits no parameter, the model has fewer layers, or nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    frozen = {name for pattern in settings.freeze for name in _fitting(pattern, names)}
    if settings.num_frozen_layers:
        frozen |= _lowest_layers(model, settings.num_frozen_layers)
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    if frozen and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ModelError(
            "every parameter is frozen, so there is nothing to train",
            where="model.freeze" if settings.freeze else "model.num_frozen_layers",
            remedy="Freeze less, or add an adapter.",
        )


def _fitting(pattern: str, names: Sequence[str]) -> list[str]:
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        near = difflib.get_close_matches(pattern.strip("*."), names, n=3, cutoff=0.3)
        raise ModelError(
            f"no parameter has a name like {pattern!r}; near it are {', '.join(near or names[:3])}",
            where="model.freeze",
            remedy="Patterns are of whole names, with * for any part of one, such as *embeddings*.",
        )
    return found


def _lowest_layers(model: PreTrainedModel, number: int) -> set[str]:
    """Names of the parameters of the lowest layers of each stack of blocks, and of what is below them."""
    stacks = block_lists(model)
    if not stacks:
        raise ModelError(
            f"the layers of {type(model).__name__} cannot be told apart",
            where="model.num_frozen_layers",
            remedy="Name their parameters in model.freeze.",
        )
    for name, layers in stacks.items():
        if number > len(layers):
            raise ModelError(
                f"{number} layers are to be frozen, but {name} has {len(layers)}",
                where="model.num_frozen_layers",
                remedy=f"Write at most {len(layers)}.",
            )
    lowest = [f"{name}.{index}." for name in stacks for index in range(number)]
    below = _below_layers(model, list(stacks))
    prefixes = (*lowest, *(f"{name}." for name in below))
    return {name for name, _ in model.named_parameters() if name.startswith(prefixes)}


def block_lists(model: PreTrainedModel) -> dict[str, ModuleList]:
    """Each stack of transformer blocks by its name; an encoder-decoder has two.

    Found by what they are: the outermost lists of as many modules of one class as the configuration says
    there are layers.
    """
    found: dict[str, ModuleList] = {}
    counts = {
        getattr(model.config, name, None)
        for name in ("num_hidden_layers", "num_layers", "num_decoder_layers", "encoder_layers")
    }
    for name, module in model.named_modules():
        is_inner = any(name.startswith(f"{outer}.") for outer in found)
        if not isinstance(module, ModuleList) or is_inner or len(module) not in counts:
            continue
        if len({type(layer) for layer in module}) == 1:
            found[name] = module
    return found


def _below_layers(model: PreTrainedModel, stacks: Sequence[str]) -> list[str]:
    """Names of the embeddings: all tables outside the blocks, and the modules made for them alone."""
    inside = tuple(f"{name}." for name in stacks)
    tables = [
        name
        for name, module in model.named_modules()
        if isinstance(module, Embedding) and not name.startswith(inside)
    ]
    holders = [name.rpartition(".")[0] for name in tables]
    # BERT's module of embeddings has a norm too; Llama's table stands in the module that holds the blocks.
    return [
        holder if holder and not any(stack.startswith(f"{holder}.") for stack in stacks) else table
        for table, holder in zip(tables, holders, strict=True)
    ]

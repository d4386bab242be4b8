"""Settings of `distributed` that cannot work, and what a recipe lays over DeepSpeed's configuration."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from rankfold.recipe.conflict import Conflict
from rankfold.recipe.deepspeed import ZERO_STAGES
from rankfold.recipe.deepspeed_keys import KNOWN, REFUSED, SET_BY_THE_RECIPE, Kind, Table
from rankfold.recipe.entries import listed, shown
from rankfold.recipe.schema import Recipe

_OVERRIDES = "distributed.deepspeed"

_FLATTENED = ("adafactor", "adalomo", "apollo_adamw", "galore", "lomo", "muon", "stable_adamw")
"""Optimizers that look at a weight as a matrix or by itself; ZeRO gives them one long vector of many."""

_ON_GPUS_ONLY = ("8bit", "4bit", "bnb", "paged", "apex")
"""Parts of the names of optimizers whose kernels run on GPUs alone, and offloaded states are on the CPU."""


def distributed_conflicts(recipe: Recipe, num_ranks: int) -> Iterator[Conflict]:
    """Find what cannot work; `num_ranks` is how many ranks the recipe trains on."""
    distributed = recipe.distributed
    if distributed.strategy == "none" and num_ranks > 1:
        yield Conflict(
            ("distributed.strategy",),
            f"none means one rank, but resources.train asks for {num_ranks}; use ddp or zero1, zero2, zero3",
        )
    if distributed.strategy not in ZERO_STAGES:
        yield from _without_zero(recipe)
        return
    yield from _offload_conflicts(recipe)
    yield from _optimizer_conflicts(recipe)
    if distributed.strategy == "zero3":
        yield from _precision_conflicts(recipe)
    yield from _override_conflicts(distributed.deepspeed, KNOWN, ())


def _without_zero(recipe: Recipe) -> Iterator[Conflict]:
    strategy = recipe.distributed.strategy
    if recipe.distributed.deepspeed:
        yield Conflict(
            (_OVERRIDES,),
            f"is only read with zero1, zero2 or zero3, but strategy is {strategy}; "
            "change strategy, or leave deepspeed out",
        )
    if recipe.distributed.offload is not None:
        wanted = "zero3" if recipe.distributed.offload == "parameters" else "zero1, zero2 or zero3"
        yield Conflict(
            ("distributed.offload", "distributed.strategy"),
            f"is {recipe.distributed.offload}, which DeepSpeed does with {wanted}, but strategy is "
            f"{strategy}; change strategy, or leave offload out",
        )


def _offload_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    distributed, optim = recipe.distributed, recipe.train.optim
    if distributed.offload == "parameters" and distributed.strategy != "zero3":
        yield Conflict(
            ("distributed.offload", "distributed.strategy"),
            f"is parameters, but {distributed.strategy} keeps every parameter on every rank; "
            "set strategy to zero3, or offload to optimizer",
        )
    if distributed.offload is not None and any(part in optim for part in _ON_GPUS_ONLY):
        yield Conflict(
            ("train.optim", "distributed.offload"),
            f"{optim} runs on GPUs only, but distributed.offload keeps its states in the CPU's memory; "
            "set optim to adamw_torch_fused, or leave offload out",
        )


def _optimizer_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    train, strategy = recipe.train, recipe.distributed.strategy
    if any(train.optim.startswith(name) for name in _FLATTENED):
        yield Conflict(
            ("train.optim", "distributed.strategy"),
            f"{train.optim} needs each weight in its own shape, but {strategy} shards them as one long "
            "vector; set optim to adamw_torch, or strategy to ddp",
        )


def _precision_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """ZeRO-3 makes the weights itself while the model is loaded, in the precision that is trained in."""
    train, dtype = recipe.train, recipe.model.torch_dtype
    trained_in = "bf16" if dtype == "bfloat16" else "fp16"
    if dtype != "float32" and not getattr(train, trained_in):
        yield Conflict(
            ("model.torch_dtype", f"train.{trained_in}"),
            f"is {dtype}, but zero3 holds weights in the precision it trains in, and train.{trained_in} is "
            f"false; set train.{trained_in} to true, or torch_dtype to float32",
        )


def _override_conflicts(
    overrides: Mapping[str, Any], table: Table, way: tuple[str, ...]
) -> Iterator[Conflict]:
    for key, value in overrides.items():
        here = (*way, key)
        dotted = ".".join(here)
        allowed = table.get(key)
        location = (f"{_OVERRIDES}.{dotted}",)
        if dotted in SET_BY_THE_RECIPE:
            yield Conflict(location, f"is set by the recipe itself; use {SET_BY_THE_RECIPE[dotted]}")
        elif dotted in REFUSED:
            yield Conflict(location, f"cannot be set: {REFUSED[dotted]}")
        elif allowed is None:
            yield Conflict(location, f"DeepSpeed has no such setting; {_meant(key, table)}")
        elif value is None:
            # Takes back what another recipe, or the strategy, has set.
            yield from _null_conflicts(dotted)
        elif isinstance(allowed, Kind):
            if not allowed.allows(value):
                yield Conflict(location, f"must be {allowed.words}; found {shown(value)}")
        elif isinstance(value, Mapping):
            yield from _override_conflicts(value, allowed, here)
        else:
            yield Conflict(location, f"must be a mapping; found {shown(value)}")


def _null_conflicts(dotted: str) -> Iterator[Conflict]:
    """A section goes as a whole, and may not take along what the recipe itself sets in it."""
    for key, ours in SET_BY_THE_RECIPE.items():
        if key.startswith(f"{dotted}."):
            yield Conflict((f"{_OVERRIDES}.{dotted}",), f"cannot be null: {key} in it stands for {ours}")
            return


def _meant(key: str, table: Table) -> str:
    """What somebody meant by an unknown key: one close to it, one of another section, or all of them."""
    close = difflib.get_close_matches(key, table, n=1)
    if close:
        return f"did you mean {close[0]}?"
    # DeepSpeed's own documentation leaves out the beginnings of some: prefetch_bucket_size.
    elsewhere = [path for path in _paths(KNOWN) if path.endswith((f".{key}", f"_{key}"))]
    if elsewhere:
        return f"did you mean {listed(elsewhere)}?"
    return f"allowed here: {', '.join(table)}"


def _paths(table: Table, prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        yield f"{prefix}{key}"
        if not isinstance(value, Kind):
            yield from _paths(value, f"{prefix}{key}.")

"""What a plan says about memory and DeepSpeed: the estimate against a GPU, the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from launch.machine import gpu_memory_gb
from launch.memory.estimate import GB, USABLE, Estimate, StrategyMemory, estimate, fits
from launch.memory.model_shape import Unknown
from launch.tables import BOLD, styled, table
from rankfold.recipe.deepspeed import deepspeed_configuration

if TYPE_CHECKING:
    from launch.planning import Planned

PARTS = ("parameters", "gradients", "optimizer", "buffers", "activations", "logits")


def memory_json(planned: Planned) -> dict[str, Any]:
    """The estimate, or why there is none, and DeepSpeed's configuration, None without ZeRO."""
    recipe = planned.loaded.recipe
    found = estimate(recipe, planned.plan.world_size)
    memory = {"unknown": found.reason} if isinstance(found, Unknown) else found.to_json(_limit(planned))
    return {"memory": memory, "deepspeed": deepspeed_configuration(recipe)}


def memory_lines(planned: Planned, *, color: bool) -> Iterator[str]:
    """A table of what each strategy needs, and the cheapest that fits."""
    found = estimate(planned.loaded.recipe, planned.plan.world_size)
    if isinstance(found, Unknown):
        yield f"memory              unknown: {planned.loaded.recipe.model.name_or_path}: {found.reason}"
        return
    limit = _limit(planned)
    on = "GPU" if planned.plan.job("train").gpus_per_node else "rank"
    yield (
        f"memory of a {on}: {found.kind}, {_millions(found.total_parameters)} parameters, "
        f"{_millions(found.trainable_parameters)} of them trained"
    )
    yield ""
    header = ("strategy", *PARTS, "total", *((f"fits {limit:g} GB",) if limit else ()))
    lines = table(header, [_row(one, limit) for one in found.strategies], right=header[1:8])
    yield styled(lines[0], BOLD, color=color)
    for one, line in zip(found.strategies, lines[1:], strict=True):
        yield styled(line, BOLD if one == found.chosen else "", color=color)
    yield from _verdict(found, limit)


def deepspeed_lines(planned: Planned, *, color: bool) -> Iterator[str]:
    """DeepSpeed's configuration by the keys that `distributed.deepspeed` takes; nothing without ZeRO."""
    from launch.plan_text import dotted_values, shown

    configuration = deepspeed_configuration(planned.loaded.recipe)
    if configuration is None:
        return
    yield ""
    rows = [(key, shown(value)) for key, value in dotted_values(configuration)]
    header, *lines = table(("DeepSpeed's configuration", "value"), rows)
    yield styled(header, BOLD, color=color)
    yield from lines


def _row(one: StrategyMemory, limit: float | None) -> tuple[str, ...]:
    parts = (getattr(one.memory, part) for part in PARTS)
    verdict = ("yes" if fits(one.memory, limit) else "no",) if limit else ()
    return (one.name, *map(_gigabytes, parts), _gigabytes(one.memory.total), *verdict)


def _verdict(found: Estimate, limit: float | None) -> Iterator[str]:
    yield ""
    if found.chosen.memory.activations is None:
        yield "activations and logits of this architecture are not known, so nothing is said about what fits"
        return
    if limit is None:
        return
    cheapest = found.cheapest(limit)
    room = f"{USABLE:.0%} of {limit:g} GB"
    if cheapest is None:
        yield f"nothing fits {room}: lower train.per_device_train_batch_size or data.max_length"
    else:
        yield f"cheapest that fits {room}: {cheapest.name}; the recipe says {found.chosen.name}"


def _limit(planned: Planned) -> float | None:
    """Memory of one GPU to train on, as the profile says or as this machine has; None without GPUs."""
    if not planned.plan.job("train").gpus_per_node:
        return None
    profile = planned.profile.for_stage("train").gpu_memory_gb
    return profile if planned.plan.cluster == "slurm" else profile or gpu_memory_gb()


def _gigabytes(number: int | None) -> str:
    if number is None:
        return "–"
    return f"{number / GB:.2f} GB" if number < 10 * GB else f"{number / GB:.1f} GB"


def _millions(number: int) -> str:
    return f"{number / 1e6:,.1f} M"

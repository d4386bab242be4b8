"""Memory that training needs on each GPU under each strategy; the formulas are told in docs/memory.md.

Source: ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054, section 3. Parameters, gradients and optimizer states
are exact but for padding of a few bytes a tensor; activations and logits are an estimate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from launch.memory.activations import BYTES, activation_bytes, computed_in, is_mixed, logit_bytes
from launch.memory.model_files import read_shape
from launch.memory.model_shape import Shape, Unknown
from launch.memory.trained_parameters import added_parameters, frozen_parameters
from rankfold.recipe.deepspeed import deepspeed_configuration

if TYPE_CHECKING:
    from rankfold.recipe.schema import Quantization, Recipe

GB = 1_000_000_000
USABLE = 0.9
"""Share of a GPU's memory that training may fill: CUDA's context, NCCL and fragmentation take the rest."""

MOMENTS = {"adamw_torch": 2, "adamw_torch_fused": 2, "adagrad": 1, "rmsprop": 1, "sgd": 0}
"""Optimizer → numbers that it keeps for each parameter it trains, in the parameter's precision."""

_REDUCE_BUCKET_SIZE = 500_000_000
"""DeepSpeed's default of `reduce_bucket_size`, for a recipe that takes ours back."""
_MAX_LIVE_PARAMETERS = 1_000_000_000
"""DeepSpeed's default of `stage3_max_live_parameters`."""

Offload = Literal["optimizer", "parameters"]

CHOICES: tuple[tuple[str, Offload | None], ...] = (
    ("ddp", None),
    ("zero1", None),
    ("zero2", None),
    ("zero3", None),
    ("zero3", "parameters"),
)
"""Strategies by what they cost in communication, the cheapest first (arXiv:1910.02054, section 7)."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU at the end of a backward pass, where all of it is needed at once.

    Attributes:
        activations: None where the architecture is not known.
        logits: The same.
        buffers: What communication and autocast hold beside the model.
    """

    parameters: int
    gradients: int
    optimizer: int
    buffers: int
    activations: int | None
    logits: int | None

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) or 0 for field in fields(self))


@dataclass(frozen=True)
class StrategyMemory:
    """What one strategy needs."""

    strategy: str
    offload: Offload | None
    memory: Memory

    @property
    def name(self) -> str:
        return self.strategy + (f" + offload {self.offload}" if self.offload else "")


@dataclass(frozen=True)
class Estimate:
    """All strategies' needs of one recipe."""

    kind: str
    total_parameters: int
    trainable_parameters: int
    world_size: int
    strategies: tuple[StrategyMemory, ...]
    chosen: StrategyMemory

    def cheapest(self, gpu_memory_gb: float) -> StrategyMemory | None:
        """The strategy with the least communication that fits; None where none does."""
        return next((one for one in self.strategies if fits(one.memory, gpu_memory_gb)), None)

    def to_json(self, gpu_memory_gb: float | None) -> dict[str, Any]:
        limit = gpu_memory_gb
        cheapest = None if limit is None else self.cheapest(limit)
        return {
            "model_type": self.kind,
            "total_parameters": self.total_parameters,
            "trainable_parameters": self.trainable_parameters,
            "gpu_memory_gb": limit,
            "chosen": self.chosen.name,
            "cheapest": cheapest.name if cheapest else None,
            "strategies": [
                {
                    "strategy": one.strategy,
                    "offload": one.offload,
                    "bytes": asdict(one.memory) | {"total": one.memory.total},
                    "fits": None if limit is None else fits(one.memory, limit),
                }
                for one in self.strategies
            ],
        }


def fits(memory: Memory, gpu_memory_gb: float) -> bool:
    """Whether training stays below the usable share; never where the activations are not known."""
    return memory.activations is not None and memory.total <= USABLE * gpu_memory_gb * GB


def estimate(recipe: Recipe, world_size: int) -> Estimate | Unknown:
    """Say what each strategy would need on each GPU; reads the model's configuration, never its weights."""
    shape = read_shape(recipe)
    if isinstance(shape, Unknown):
        return shape
    if recipe.train.optim not in MOMENTS:
        return Unknown(f"what the optimizer {recipe.train.optim} keeps is not known here")
    model = recipe.model
    if shape.block is None and (model.trained_adapter or model.num_frozen_layers or model.quantization):
        return Unknown(f"{shape.kind} is an architecture whose layers are not known here")
    if model.freeze:
        return Unknown("which parameters model.freeze names shows in the model itself alone")
    teacher = _teacher_bytes(recipe)
    if isinstance(teacher, Unknown):
        return teacher
    weights = Weights.of(shape, recipe, teacher)
    alone = world_size == 1
    choices = [
        ("none" if alone and strategy == "ddp" else strategy, offload) for strategy, offload in CHOICES
    ]
    distributed = recipe.distributed
    chosen = (distributed.strategy, distributed.offload)
    if chosen not in choices:
        choices.append(chosen)
    found = {choice: _needs(recipe, shape, weights, world_size, *choice) for choice in choices}
    return Estimate(
        kind=shape.kind,
        total_parameters=weights.base + weights.trained_beside,
        trainable_parameters=weights.trained,
        world_size=world_size,
        strategies=tuple(found.values()),
        chosen=found[chosen],
    )


@dataclass(frozen=True)
class Weights:
    """Numbers of parameters.

    Attributes:
        base: Of the model as it was loaded.
        trained_beside: Added to train: an adapter, and a second copy of a head trained in full beside it.
        trained: All that are trained.
        cast: In matrices, which autocast copies into half precision.
        few_bits: Bytes of a base in 4 or 8 bits; None where it is whole.
        teacher: Bytes of the model to learn from.
    """

    base: int
    trained_beside: int
    trained: int
    cast: int
    few_bits: int | None = None
    teacher: int = 0

    @classmethod
    def of(cls, shape: Shape, recipe: Recipe, teacher: int = 0) -> Weights:
        cast = sum(layer.inputs * layer.outputs for layer in shape.layers if layer.kind == "linear")
        adapter = recipe.model.trained_adapter
        if adapter is None:
            trained = shape.parameters - frozen_parameters(shape, recipe.model.num_frozen_layers)
            return cls(shape.parameters, 0, trained, cast, teacher=teacher)
        # PEFT keeps the head as it was, and trains a copy.
        heads = sum(layer.parameters for layer in shape.layers if layer.kind == "head")
        beside = added_parameters(shape, adapter) + heads
        few_bits = _few_bits(shape, recipe.model.quantization)
        return cls(shape.parameters, beside, beside, cast if few_bits is None else 0, few_bits, teacher)

    def base_bytes(self, width: int) -> int:
        """Bytes of the base model, `width` a weight unless it is in few bits."""
        return self.base * width if self.few_bits is None else self.few_bits


def _few_bits(shape: Shape, quantization: Quantization | None) -> int | None:
    """Bytes of a base by bitsandbytes: matrices of blocks in few bits, the rest in float32.

    Source: Dettmers et al. 2023, arXiv:2305.14314, section 3: a scale for 64 weights, in float32 or
    again in 8 bits with a scale for 256 of them; in 8 bits (arXiv:2208.07339) a scale a row.
    """
    if quantization is None:
        return None
    quantised = [layer for layer in shape.layers if layer.kind == "linear" and layer.name != "lm_head"]
    weights = sum(layer.inputs * layer.outputs for layer in quantised)
    rest = 4 * (shape.parameters - weights)
    if quantization.bits == 8:
        return weights + 4 * sum(layer.outputs for layer in quantised) + rest
    scales = weights // 64
    bytes_of_scales = scales + 4 * scales // 256 if quantization.bnb_4bit_use_double_quant else 4 * scales
    return weights // 2 + bytes_of_scales + rest


def _teacher_bytes(recipe: Recipe) -> int | Unknown:
    """Bytes of the model to learn from, which every rank holds whole."""
    if recipe.teacher is None:
        return 0
    shape = read_shape(recipe.model_copy(update={"model": recipe.teacher}))
    if isinstance(shape, Unknown):
        return Unknown(f"the teacher {recipe.teacher.name_or_path}: {shape.reason}")
    return shape.parameters * BYTES[recipe.teacher.torch_dtype]


def _needs(
    recipe: Recipe, shape: Shape, weights: Weights, ranks: int, strategy: str, offload: Offload | None
) -> StrategyMemory:
    distributed = recipe.distributed
    # Overrides are for the recipe's own strategy.
    overrides = distributed.deepspeed if strategy == distributed.strategy else {}
    changed = {"strategy": strategy, "offload": offload, "deepspeed": overrides}
    variant = recipe.model_copy(update={"distributed": distributed.model_copy(update=changed)})
    configuration = deepspeed_configuration(variant)
    if configuration is None:
        states = _replicated(variant, weights, ranks)
    else:
        states = _sharded(variant, weights, ranks, configuration)
    width = computed_in(variant)
    activations = activation_bytes(shape, variant, width)
    logits = None if shape.block is None else logit_bytes(shape, variant, width)
    return StrategyMemory(strategy, offload, Memory(*states, activations, logits))


def _replicated(recipe: Recipe, weights: Weights, ranks: int) -> tuple[int, int, int, int]:
    """Parameters, gradients, optimizer states, buffers where every rank holds everything."""
    base = BYTES[recipe.model.torch_dtype]
    trained = _trained_bytes(recipe)
    gradients = weights.trained * trained
    # DistributedDataParallel reduces gradients in buckets of their own.
    buffers = gradients if ranks > 1 else 0
    if is_mixed(recipe) and base == 4:
        # Autocast's half-precision copies live as long as the graph that needs them.
        buffers += 2 * weights.cast
    buffers += weights.teacher
    return (
        weights.base_bytes(base) + weights.trained_beside * trained,
        gradients,
        weights.trained * trained * MOMENTS[recipe.train.optim],
        buffers,
    )


def _sharded(
    recipe: Recipe, weights: Weights, ranks: int, configuration: dict[str, Any]
) -> tuple[int, int, int, int]:
    """The same under ZeRO, whose optimizer keeps float32 weights and states of its own."""
    zero = configuration["zero_optimization"]
    stage, width = zero["stage"], computed_in(recipe)
    # Stages 1 and 2 convert the whole model; stage 3 makes the base model, and leaves PEFT's adapters alone.
    beside = 4 if stage == 3 or not is_mixed(recipe) else width
    beside = beside if recipe.model.trained_adapter else width
    parameters = weights.base_bytes(width) + weights.trained_beside * beside
    gradients = weights.trained * (width if stage == 3 else beside)
    optimizer = _shard(weights.trained, ranks) * 4 * (1 + MOMENTS[recipe.train.optim])
    bucket = zero.get("reduce_bucket_size", _REDUCE_BUCKET_SIZE)
    # What transformers fills in for auto, hidden size × hidden size, is next to nothing.
    buffers = (0 if bucket == "auto" else int(bucket)) * width + weights.teacher
    if stage == 2 and zero.get("overlap_comm"):
        buffers += buffers - weights.teacher
    if stage >= 2:
        gradients = _shard(gradients, ranks)
    if stage == 3:
        live = min(int(zero.get("stage3_max_live_parameters", _MAX_LIVE_PARAMETERS)) * width, parameters)
        buffers += live
        parameters = _shard(parameters, ranks)
    if zero.get("offload_optimizer", {}).get("device", "none") != "none":
        optimizer = 0
        gradients = gradients if stage == 1 else 0
    if zero.get("offload_param", {}).get("device", "none") != "none":
        parameters = 0
    return parameters, gradients, optimizer, buffers


def _trained_bytes(recipe: Recipe) -> int:
    """Bytes of a weight that is trained without ZeRO: PEFT makes adapters float32."""
    return 4 if recipe.model.trained_adapter else BYTES[recipe.model.torch_dtype]


def _shard(number: int, ranks: int) -> int:
    return -(-number // ranks)

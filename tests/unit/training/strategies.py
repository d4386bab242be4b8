"""What test_zero.py has every rank do: train with one strategy after the other in one process group."""

import gc
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
from deepspeed.runtime.engine import DeepSpeedEngine
from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from unit.training.validated import trained

from rankfold.errors import OperationalError
from rankfold.ranks import ranks
from rankfold.run_folder import RunFolder
from rankfold.training.trainer import FineTuningTrainer

MEASURED_STEP = 2
"""The first after which the optimizer has its states."""


def train_each(runs: Sequence[RunFolder]) -> None:
    """Train each run; every rank leaves its summary and what it held in memory, or the error."""
    # Accelerate takes a group it has not made for several machines' otherwise.
    os.environ["LOCAL_WORLD_SIZE"] = os.environ["WORLD_SIZE"]
    for run in runs:
        held: list[dict[str, int]] = []
        with _measured(held.append), _sabotaged("ungathered" in run.root.parent.name):
            try:
                result = trained(run, world_size=ranks().world_size) | {"bytes": held[MEASURED_STEP - 1]}
            except OperationalError as error:
                result = {"error": error.message}
        (run.root / f"rank{ranks().rank}.json").write_text(json.dumps(result))
        _forget_the_run()


def _forget_the_run() -> None:
    """Let the next run in this process choose another strategy."""
    AcceleratorState._reset_state(reset_partial_state=True)
    unset_hf_deepspeed_config()
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        del os.environ[name]
    gc.collect()


@contextmanager
def _measured(tell: Callable[[dict[str, int]], None]) -> Iterator[None]:
    """Measure when the backward pass is over and the optimizer has not stepped."""
    after_backward = FineTuningTrainer.training_step
    steps = {kind: kind.step for kind in (DeepSpeedZeroOptimizer, DeepSpeedZeroOptimizer_Stage3)}

    share_gradients = DeepSpeedZeroOptimizer.independent_gradient_partition_epilogue
    models: list[Any] = []

    def training_step(self: Any, *arguments: Any, **options: Any) -> Any:
        models[:] = [self.model]
        loss = after_backward(self, *arguments, **options)
        if not self.is_deepspeed_enabled:
            tell(_replicated(self.model, self.optimizer.optimizer))
        return loss

    def step(self: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(self, "partition_gradients", True):
            tell(_sharded(models[0], self))
        return steps[type(self)](self, *arguments, **options)

    def epilogue(self: Any) -> Any:
        # Stage 1 shares gradients only after all of them are there.
        if not self.partition_gradients:
            tell(_sharded(models[0], self))
        return share_gradients(self)

    with (
        patch.object(FineTuningTrainer, "training_step", training_step),
        patch.object(DeepSpeedZeroOptimizer, "step", step),
        patch.object(DeepSpeedZeroOptimizer, "independent_gradient_partition_epilogue", epilogue),
        patch.object(DeepSpeedZeroOptimizer_Stage3, "step", step),
    ):
        yield


@contextmanager
def _sabotaged(broken: bool) -> Iterator[None]:
    """Have DeepSpeed hand over what this rank holds of each weight, as if it were the weight."""

    def as_they_lie(self: Any, exclude_frozen_parameters: bool = False) -> dict[str, torch.Tensor] | None:
        parameters = {
            name: parameter.detach().cpu()
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad or not exclude_frozen_parameters
        }
        return parameters if ranks().is_main else None

    if not broken:
        yield
        return
    with patch.object(DeepSpeedEngine, "_zero3_consolidated_16bit_state_dict", as_they_lie):
        yield


def _replicated(model: Any, optimizer: Any) -> dict[str, int]:
    parameters = list(model.parameters())
    return {
        "parameters": _bytes(parameters),
        "gradients": _bytes([parameter.grad for parameter in parameters]),
        "optimizer": _bytes(_states(optimizer)),
    }


def _sharded(model: Any, optimizer: Any) -> dict[str, int]:
    """The shares of a rank, as DeepSpeed names them; weights that are gathered right now are none."""
    parameters = list(model.parameters())
    shares = [getattr(parameter, "ds_tensor", parameter) for parameter in parameters]
    masters = (
        getattr(optimizer, "single_partition_of_fp32_groups", None) or optimizer.fp32_partitioned_groups_flat
    )
    gradients = [parameter.grad for parameter in parameters]
    # One buffer in stage 3, and in the others a list for each group of parameters.
    gradients.append(getattr(optimizer, "grad_partitions_flat_buffer", None))
    if gradients[-1] is None:
        gradients += [share for group in optimizer.averaged_gradients.values() for share in group or ()]
    return {
        "parameters": _bytes(shares),
        # By themselves: some are views of a bucket.
        "gradients": sum(gradient.nbytes for gradient in gradients if gradient is not None),
        "optimizer": _bytes([*masters, *_states(optimizer.optimizer)]),
        "buckets": _bytes(list(_buckets(optimizer))),
    }


def _buckets(optimizer: Any) -> Iterator[torch.Tensor]:
    for bucket in optimizer.ipg_buckets.values():
        yield from bucket.buffer if isinstance(bucket.buffer, list) else [bucket.buffer]


def _states(optimizer: Any) -> list[torch.Tensor]:
    """An optimizer's states; a count of steps is none."""
    values = [value for state in optimizer.state.values() for value in state.values()]
    return [value for value in values if torch.is_tensor(value) and value.dim()]


def _bytes(tensors: Sequence[torch.Tensor | None]) -> int:
    """Bytes of the storages behind some tensors, each once."""
    storages = [tensor.untyped_storage() for tensor in tensors if tensor is not None]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

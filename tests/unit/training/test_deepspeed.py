"""The configuration that a recipe's `distributed` stands for, and what may be laid over it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from models import recipe
from ranks import on_ranks

from rankfold.recipe.deepspeed import BUCKET_SIZE, deepspeed_configuration
from rankfold.recipe.deepspeed_checks import distributed_conflicts
from rankfold.recipe.deepspeed_keys import KNOWN, REFUSED, SET_BY_THE_RECIPE, Kind, Table
from rankfold.recipe.schema import Recipe
from rankfold.training.arguments import COLLECTIVE_MARGIN_S
from rankfold.training.deepspeed import prepare_deepspeed

ON_GPUS = {"train": {"gpus_per_node": 2}}


def recipe_with(strategy: str, offload: str | None = None, **overrides: Any) -> Recipe:
    distributed = {"strategy": strategy, "offload": offload, "deepspeed": overrides}
    return recipe("generative_ner", distributed=distributed)


def configured(strategy: str, offload: str | None = None, **overrides: Any) -> dict[str, Any]:
    configuration = deepspeed_configuration(recipe_with(strategy, offload, **overrides))
    assert configuration is not None
    return configuration


@pytest.mark.parametrize("strategy", ["none", "ddp"])
def test_other_strategies_have_no_configuration(strategy: str) -> None:
    assert deepspeed_configuration(recipe_with(strategy)) is None


@pytest.mark.parametrize(("strategy", "stage"), [("zero1", 1), ("zero2", 2), ("zero3", 3)])
def test_a_strategy_is_a_stage_of_zero(strategy: str, stage: int) -> None:
    assert configured(strategy)["zero_optimization"]["stage"] == stage


def test_what_the_recipe_says_elsewhere_stands_in_the_configuration() -> None:
    train = {
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 5,
        "max_grad_norm": 0.5,
        "bf16": True,
    }
    of = recipe("generative_ner", train=train, distributed={"strategy": "zero2"})
    configuration = deepspeed_configuration(of)
    assert configuration is not None
    assert configuration["train_micro_batch_size_per_gpu"] == 3
    assert configuration["gradient_accumulation_steps"] == 5
    assert configuration["gradient_clipping"] == 0.5
    assert (configuration["bf16"], configuration["fp16"]) == ({"enabled": True}, {"enabled": False})
    assert "optimizer" not in configuration
    assert "scheduler" not in configuration


def test_zero_3_gathers_the_weights_before_it_saves_them() -> None:
    assert configured("zero3")["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3"])
def test_no_rank_reserves_gigabytes_for_buckets(strategy: str) -> None:
    assert configured(strategy)["zero_optimization"]["reduce_bucket_size"] == BUCKET_SIZE


@pytest.mark.parametrize(
    ("offload", "offloaded"),
    [
        (None, set()),
        ("optimizer", {"offload_optimizer"}),
        ("parameters", {"offload_optimizer", "offload_param"}),
    ],
)
def test_what_is_offloaded_goes_to_the_cpu_s_memory(offload: str | None, offloaded: set[str]) -> None:
    zero = configured("zero3", offload)["zero_optimization"]
    assert {key for key in zero if key.startswith("offload")} == offloaded
    assert all(zero[key]["device"] == "cpu" for key in offloaded)


def test_the_recipe_s_optimizer_steps_on_the_cpu_too_and_nothing_is_compiled() -> None:
    assert configured("zero2", "optimizer")["zero_force_ds_cpu_optimizer"] is False
    forced = configured("zero2", "optimizer", zero_force_ds_cpu_optimizer=True)
    assert forced["zero_force_ds_cpu_optimizer"] is True


@pytest.mark.parametrize(("resources", "on_gpus"), [({}, False), (ON_GPUS, True)])
def test_gpus_overlap_what_they_send_and_copy_from_pinned_memory(
    resources: dict[str, Any], on_gpus: bool
) -> None:
    distributed = {"strategy": "zero2", "offload": "optimizer"}
    configuration = deepspeed_configuration(
        recipe("generative_ner", distributed=distributed, resources=resources)
    )
    assert configuration is not None
    zero = configuration["zero_optimization"]
    assert zero["overlap_comm"] is on_gpus
    assert zero["offload_optimizer"]["pin_memory"] is on_gpus


def test_overrides_are_laid_over_and_leave_the_rest_of_a_section() -> None:
    configuration = configured(
        "zero2", zero_optimization={"offload_optimizer": {"device": "nvme"}}, wall_clock_breakdown=True
    )
    assert configuration["zero_optimization"]["offload_optimizer"] == {"device": "nvme"}
    assert configuration["zero_optimization"]["stage"] == 2
    assert configuration["zero_optimization"]["contiguous_gradients"] is True
    assert configuration["wall_clock_breakdown"] is True


def test_null_takes_back_what_the_strategy_set() -> None:
    zero = configured("zero3", "parameters", zero_optimization={"offload_param": None})["zero_optimization"]
    assert "offload_param" not in zero
    assert zero["offload_optimizer"]["device"] == "cpu"


@pytest.mark.parametrize("section", ["zero_optimization", "bf16", "fp16"])
def test_null_cannot_take_back_what_the_recipe_says_elsewhere(section: str) -> None:
    (conflict,) = distributed_conflicts(recipe_with("zero2", **{section: None}), 2)
    assert conflict.keys == (f"distributed.deepspeed.{section}",)
    assert conflict.message.startswith(f"cannot be null: {section}.")


def ends_with_the_recipe_s_timeout(of: Recipe) -> None:
    prepare_deepspeed(of)
    from deepspeed.utils import groups

    own = groups._clone_world_group()._get_backend(torch.device("cpu"))
    assert own.options._timeout == timedelta(minutes=45, seconds=COLLECTIVE_MARGIN_S)


@pytest.mark.slow
def test_zero_s_own_collectives_wait_as_long_as_the_recipe_says(tmp_path: Path) -> None:
    of = recipe("generative_ner", distributed={"strategy": "zero2", "timeout_min": 45})
    on_ranks(1, ends_with_the_recipe_s_timeout, tmp_path, of)


class Noted(dict[str, Any]):
    """A part of a configuration that notes the keys it is asked for."""

    def __init__(self, values: dict[str, Any], seen: set[str], at: str = "") -> None:
        super().__init__(values)
        self.seen, self.at = seen, at

    def note(self, key: object) -> None:
        self.seen.add(f"{self.at}{key}")

    def __contains__(self, key: object) -> bool:
        self.note(key)
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self.note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.note(key)
        return super().get(key, default)

    def keys(self) -> Any:
        return self

    def __copy__(self) -> "Noted":
        return self


READ_BY_HAND = (
    *("activation_checkpointing", "aio", "data_types", "flops_profiler", "timers"),
    *("checkpoint", "torch_autocast"),
)
"""Sections that DeepSpeed reads key by key; the others are pydantic models, which name their fields."""


@pytest.fixture(scope="module")
def read() -> set[str]:
    """Dotted keys that the installed DeepSpeed looks at."""
    from deepspeed.runtime.config import DeepSpeedConfig

    seen: set[str] = set()
    sections = {name: Noted({}, seen, at=f"{name}.") for name in READ_BY_HAND}
    DeepSpeedConfig(Noted({"train_micro_batch_size_per_gpu": 1, **sections}, seen))
    return seen


def test_the_table_of_keys_is_what_the_installed_deepspeed_reads(read: set[str]) -> None:
    top = {key for key in read if "." not in key}
    decided = set(KNOWN) | {key for key in (*SET_BY_THE_RECIPE, *REFUSED) if "." not in key}
    # The engine itself asks for it, past the configuration.
    assert decided - {"sequence_parallel_size"} == top


@pytest.mark.parametrize("section", [name for name in READ_BY_HAND if name in KNOWN])
def test_a_section_has_the_keys_that_deepspeed_asks_it_for(section: str, read: set[str]) -> None:
    assert {key.partition(".")[2] for key in read if key.startswith(f"{section}.")} == set(KNOWN[section])


def models() -> dict[str, Any]:
    """DeepSpeed's own models of sections, by their dotted keys."""
    from deepspeed.comm.config import CommsLoggerConfig
    from deepspeed.runtime.precision_config import DeepSpeedBF16Config, DeepSpeedFP16Config
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from deepspeed.runtime.zero.leaf_module_config import DeepSpeedZeroLeafModuleConfig
    from deepspeed.runtime.zero.offload_config import (
        DeepSpeedZeroOffloadOptimizerConfig,
        DeepSpeedZeroOffloadParamConfig,
    )
    from deepspeed.utils.config import DeepSpeedThroughputTimerConfig

    return {
        "bf16": DeepSpeedBF16Config,
        "comms_logger": CommsLoggerConfig,
        "fp16": DeepSpeedFP16Config,
        "timers.throughput": DeepSpeedThroughputTimerConfig,
        "zero_optimization": DeepSpeedZeroConfig,
        "zero_optimization.leaf_module": DeepSpeedZeroLeafModuleConfig,
        "zero_optimization.offload_optimizer": DeepSpeedZeroOffloadOptimizerConfig,
        "zero_optimization.offload_param": DeepSpeedZeroOffloadParamConfig,
    }


def section_at(dotted: str) -> Table:
    table: Table = KNOWN
    for key in dotted.split("."):
        table = table[key]
    return table


def test_sections_have_the_fields_of_deepspeed_s_models() -> None:
    for dotted, model in models().items():
        fields = {field.alias or name for name, field in model.model_fields.items()}
        elsewhere = {
            key.removeprefix(f"{dotted}.")
            for key in (*SET_BY_THE_RECIPE, *REFUSED)
            if key.startswith(f"{dotted}.")
        }
        assert set(section_at(dotted)) | elsewhere == fields, dotted


EXAMPLES: dict[type, Any] = {bool: True, int: 1, float: 0.5, str: "text", list: ["a"]}


def kinds(table: Table, prefix: str = "") -> Iterator[tuple[str, Kind]]:
    for key, value in table.items():
        if isinstance(value, Kind):
            yield f"{prefix}{key}", value
        else:
            yield from kinds(value, f"{prefix}{key}.")


def test_deepspeed_s_models_take_values_of_the_kinds_in_the_table() -> None:
    taken: dict[str, Callable[..., Any]] = models()
    for dotted, kind in kinds(KNOWN):
        section, _, key = dotted.rpartition(".")
        if section in taken:
            value = kind.options[0] if kind.options else EXAMPLES[kind.types[0]]
            assert taken[section](**{key: value}) is not None, dotted

from typing import Any

import pytest
from models import recipe

from rankfold.training.deepspeed import deepspeed_configuration


def configured(strategy: str, **overrides: Any) -> dict[str, Any]:
    distributed = {"strategy": strategy, "deepspeed": overrides}
    configuration = deepspeed_configuration(recipe("generative_ner", distributed=distributed))
    assert configuration is not None
    return configuration


@pytest.mark.parametrize("strategy", ["none", "ddp"])
def test_other_strategies_have_no_configuration(strategy: str) -> None:
    assert deepspeed_configuration(recipe("generative_ner", distributed={"strategy": strategy})) is None


@pytest.mark.parametrize(("strategy", "stage"), [("zero1", 1), ("zero2", 2), ("zero3", 3)])
def test_a_strategy_is_a_stage_of_zero(strategy: str, stage: int) -> None:
    assert configured(strategy)["zero_optimization"]["stage"] == stage


def test_what_the_recipe_says_elsewhere_is_left_to_transformers_to_fill_in() -> None:
    configuration = configured("zero2")
    for name in ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"):
        assert configuration[name] == "auto"
    assert configuration["bf16"] == configuration["fp16"] == {"enabled": "auto"}
    assert "optimizer" not in configuration


def test_zero_3_gathers_the_weights_before_it_saves_them() -> None:
    assert configured("zero3")["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True


def test_overrides_are_laid_over_and_leave_the_rest_of_a_section() -> None:
    configuration = configured(
        "zero2", zero_optimization={"offload_optimizer": {"device": "cpu"}}, wall_clock_breakdown=True
    )
    assert configuration["zero_optimization"]["offload_optimizer"] == {"device": "cpu"}
    assert configuration["zero_optimization"]["stage"] == 2
    assert configuration["zero_optimization"]["contiguous_gradients"] is True
    assert configuration["wall_clock_breakdown"] is True


def test_an_override_replaces_what_is_no_section() -> None:
    configuration = configured("zero2", gradient_clipping=0.3, bf16=False)
    assert (configuration["gradient_clipping"], configuration["bf16"]) == (0.3, False)

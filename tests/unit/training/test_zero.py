"""Every strategy trains on two ranks: the same losses, whole models, the memory foretold."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ranks import on_ranks
from safetensors.torch import load_file
from unit.training.strategies import train_each
from unit.training.validated import prepared_run

from launch.memory.estimate import Memory, estimate
from launch.memory.model_shape import Unknown
from rankfold.run_folder import RunFolder
from rankfold.stages.inputs import recipe_and_task

# One start trains all cases; on a busy machine that takes minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RANKS = 2
STEPS = 4
FLOAT32_TOLERANCE = 1e-5
"""Relative. Sums over ranks are taken in another order; seen: 1e-6."""
BFLOAT16_TOLERANCE = 5e-3
"""Relative. Without ZeRO, autocast keeps float32 weights; with it, weights are bfloat16. Seen: 2e-3."""
PADDING = 64
"""Bytes that alignment may add to all of a model here: DeepSpeed pads shares to equal lengths."""

# Small weights would be whole on every rank otherwise, and nothing would have to be gathered.
SHARD_ALL = {"deepspeed": {"zero_optimization": {"stage3_param_persistence_threshold": 0}}}

STRATEGIES: Mapping[str, dict[str, Any]] = {
    "ddp": {"strategy": "ddp"},
    "zero1": {"strategy": "zero1"},
    "zero2": {"strategy": "zero2"},
    "zero3": {"strategy": "zero3", **SHARD_ALL},
    "zero1-offload": {"strategy": "zero1", "offload": "optimizer"},
    "zero2-offload": {"strategy": "zero2", "offload": "optimizer"},
    "zero3-offload": {"strategy": "zero3", "offload": "parameters", **SHARD_ALL},
}
KINDS: Mapping[str, dict[str, Any]] = {
    "full": {},
    "lora": {"adapter": {"r": 4, "lora_alpha": 16}},
    "full-bf16": {"train": {"bf16": True}},
    "lora-bf16": {"adapter": {"r": 4, "lora_alpha": 16}, "train": {"bf16": True}},
}
IN_BFLOAT16 = ("ddp", "zero2", "zero3")
CASES = [
    f"{kind}-{name}" for kind in KINDS for name in (IN_BFLOAT16 if kind.endswith("bf16") else STRATEGIES)
]
UNGATHERED = ("full-zero3-ungathered", "lora-zero3-ungathered")


@pytest.fixture(scope="module")
def runs(causal_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """Every case, trained: by name of kind and strategy."""
    folder = tmp_path_factory.mktemp("strategies")
    train = {"max_steps": STEPS, "eval_strategy": "no", "eval_steps": None, "per_device_train_batch_size": 2}
    source = prepared_run(folder, "generative_ner", causal_folder, train=train)
    found = {name: changed(source, folder / name / "run", name) for name in (*CASES, *UNGATHERED)}
    on_ranks(RANKS, train_each, folder, list(found.values()))
    return found


def changed(source: RunFolder, folder: Path, name: str) -> RunFolder:
    """The prepared run again, with a kind's and a strategy's own settings."""
    run = RunFolder(Path(shutil.copytree(source.root, folder)))
    kind = kind_of(name)
    settings = KINDS[kind]
    values = yaml.safe_load(run.recipe.read_text())
    values["distributed"] = STRATEGIES[name.removeprefix(f"{kind}-").removesuffix("-ungathered")]
    values["model"] |= {"adapter": settings.get("adapter")}
    values["train"] |= settings.get("train", {})
    run.recipe.write_text(yaml.safe_dump(values))
    return run


def kind_of(name: str) -> str:
    return max((kind for kind in KINDS if name.startswith(f"{kind}-")), key=len)


def result(run: RunFolder, rank: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.root / f"rank{rank}.json").read_text())
    return found


def losses(run: RunFolder) -> list[float]:
    return [entry["loss"] for entry in result(run)["log_history"]]


@pytest.mark.parametrize("case", [case for case in CASES if not case.endswith("-ddp")])
def test_a_strategy_trains_as_ddp_does(case: str, runs: dict[str, RunFolder]) -> None:
    kind = kind_of(case)
    expected = losses(runs[f"{kind}-ddp"])
    assert len(expected) == STEPS
    assert expected[-1] < expected[0]
    tolerance = BFLOAT16_TOLERANCE if kind.endswith("bf16") else FLOAT32_TOLERANCE
    assert losses(runs[case]) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_a_saved_model_has_the_same_tensors_whatever_the_strategy(
    case: str, runs: dict[str, RunFolder]
) -> None:
    kind = kind_of(case)
    saved, expected = (
        {
            name: list(tensor.shape)
            for name, tensor in load_file(next(run.model.glob("*.safetensors"))).items()
        }
        for run in (runs[case], runs[f"{kind}-ddp"])
    )
    # With ZeRO-1 and 2 the tied head is written under its own name too.
    saved.pop("lm_head.weight", None)
    assert saved == expected
    summary = result(runs[case])
    assert summary["total_parameters"] == result(runs[f"{kind}-ddp"])["total_parameters"]


@pytest.mark.parametrize("case", UNGATHERED)
def test_shards_saved_as_a_model_are_refused_on_every_rank(case: str, runs: dict[str, RunFolder]) -> None:
    errors = {result(runs[case], rank)["error"] for rank in range(RANKS)}
    assert len(errors) == 1
    assert "the saved model is not whole: " in errors.pop()
    assert not runs[case].model.exists()


@pytest.mark.parametrize("case", CASES)
def test_the_estimate_is_what_a_rank_holds(case: str, runs: dict[str, RunFolder]) -> None:
    recipe, _ = recipe_and_task(runs[case])
    summary = result(runs[case])
    found = estimate(recipe, RANKS)
    assert not isinstance(found, Unknown)
    assert found.total_parameters == summary["total_parameters"]
    assert found.trainable_parameters == summary["trainable_parameters"]
    foretold, held = on_gpu(found.chosen.memory), summary["bytes"]
    for part in ("parameters", "gradients", "optimizer"):
        if case.endswith("-offload"):
            # Here the CPU is the device too: what is offloaded cannot be told from what is not.
            continue
        assert abs(foretold[part] - held[part]) <= PADDING, part


def on_gpu(memory: Memory) -> dict[str, int]:
    return {part: getattr(memory, part) for part in ("parameters", "gradients", "optimizer")}

"""A small recipe, a planned run that has not started, and cheap ranks to run in it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from fake_hub import fill_cache

from launch.machine import Machine
from launch.plan import Plan, make_plan
from launch.states import mark_pending
from rankfold import atomic
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder

RECIPE: dict[str, Any] = {
    "name": "small",
    "task": "generative_ner",
    "model": {"name_or_path": "some/model"},
    "data": {"source": {"path": "/data/中文 数据.jsonl", "format": "ccfbdci"}},
    "train": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "evaluation": {"shards": 2},
}

TWO_CORES = Machine(2)

MakeRecipe = Callable[..., Recipe]
MakeRun = Callable[..., RunFolder]


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Commands that run a model in this process set variables for good; here it is until the test ends."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def hub_cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only cache of the hub that a test sees: it holds what the recipes here name; no hub is asked."""
    cache = tmp_path_factory.mktemp("hub")
    for model in ("some/model", "some/encoder"):
        fill_cache(cache, model)
    for data in ("some/squad", "x"):
        fill_cache(cache, data, {"train.json": b"{}"}, kind="dataset")
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return cache


@pytest.fixture
def make_recipe() -> MakeRecipe:
    """Build the small recipe with some sections replaced."""

    def make(**sections: Any) -> Recipe:
        return Recipe.model_validate_json(json.dumps({**RECIPE, **sections}))

    return make


@pytest.fixture
def make_run(tmp_path: Path, make_recipe: MakeRecipe) -> MakeRun:
    """Write the folder of a run that has not started, in a place with a space and Chinese in its name."""

    def make(name: str = "small-1", machine: Machine = TWO_CORES, **sections: Any) -> RunFolder:
        plan = make_plan(make_recipe(**sections), cluster="local", machine=machine, num_train_examples=100)
        return write_run(RunFolder(tmp_path / "my 运行" / name), plan)

    return make


def write_run(run: RunFolder, plan: Plan) -> RunFolder:
    run.root.mkdir(parents=True)
    atomic.write_json(run.plan, plan.to_json())
    atomic.write_json(
        run.run,
        {
            "run_id": run.run_id,
            "name": plan.name,
            "created": f"2026-01-0{run.run_id[-1]}T00:00:00+00:00",
            "command": ["launch"],
            "recipe_sha256": "0" * 64,
        },
    )
    # JSON is YAML.
    atomic.write_json(run.recipe, {"distributed": {"timeout_min": 30}})
    mark_pending(run, plan)
    return run

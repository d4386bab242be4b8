"""What train.py compares: the ways of fine-tuning, and the recipe, data and tokenizer of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rankfold.data.features import Features
from rankfold.data.sides import Splits
from rankfold.data.splits import read_splits
from rankfold.modeling.load import load_tokenizer
from rankfold.modeling.sources import model_folder
from rankfold.recipe.load import load_recipe
from rankfold.recipe.schema import Recipe
from rankfold.tasks.registry import load_task

REPOSITORY = Path(__file__).resolve().parent.parent
RECIPES = {"qa": "quickstart_qa.yaml", "sft": "quickstart.yaml"}
TUTORIAL, RECOMPUTING, SAME, OURS = "tutorial", "tutorial, recomputing", "ours, same arithmetic", "ours"
WAYS = {"qa": (TUTORIAL, SAME, OURS), "sft": (TUTORIAL, RECOMPUTING, SAME, OURS)}
TUTORIAL_LENGTH = 384
QA_BATCH = 12
OUR_QA_ACCUMULATED = 1 if torch.cuda.is_available() else 4
"""As many examples a step, but the longest of three is shorter than that of twelve. Three keep a CPU busy,
but no GPU."""
SFT_BATCH, SFT_ACCUMULATED = 4, 4
OUR_SFT_ACCUMULATED = 2
"""Of the shipped recipe's batches of 8: as many examples a step."""
PACKED_LENGTH = 512
LEARNING_RATE = {"qa": 3e-4, "sft": 1e-3}
NEW_TOKENS = 32

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """What one process trains, as it gets it on its command line."""

    task: str
    way: str
    examples: int
    evaluated: int
    epochs: int
    seed: int
    qa_data: str | None

    @property
    def is_tutorial(self) -> bool:
        return self.way in (TUTORIAL, RECOMPUTING)

    def recipe(self) -> Recipe:
        """The shipped recipe, with what this way does otherwise."""
        tutorial_like = self.way != OURS
        overrides = [
            f"seed={self.seed}",
            f"train.num_train_epochs={self.epochs}",
            f"train.learning_rate={LEARNING_RATE[self.task]}",
            "train.lr_scheduler_type=linear",
            "train.warmup_steps=0",
            f"data.max_train_examples={self.examples}",
            f"data.max_test_examples={self.evaluated}",
            f"train.bf16={'false' if tutorial_like else 'true'}",
            # The order that the Trainer takes with this seed: all ways learn the same examples in a step.
            "train.train_sampling_strategy=random",
        ]
        if self.task == "qa":
            overrides += [
                f"train.per_device_train_batch_size={QA_BATCH // OUR_QA_ACCUMULATED}",
                f"train.gradient_accumulation_steps={OUR_QA_ACCUMULATED}",
                f"data.max_length={TUTORIAL_LENGTH}",
                "data.doc_stride=128",
                "model.config={}",
                "train.head_learning_rate=null",
            ]
            if self.qa_data:
                source = {"path": str(Path(self.qa_data).resolve()), "format": "squad"}
                overrides += ["data.train=null", "data.test=null", f"data.source={json.dumps(source)}"]
                overrides.append('data.split={"train": 0.8, "test": 0.2, "seed": 42}')
        else:
            if tutorial_like:
                overrides += [
                    "model.torch_dtype=float32",
                    "model.attn_implementation=null",
                    f"train.per_device_train_batch_size={SFT_BATCH}",
                ]
            accumulated = SFT_ACCUMULATED if tutorial_like else OUR_SFT_ACCUMULATED
            overrides.append(f"train.gradient_accumulation_steps={accumulated}")
        return load_recipe(REPOSITORY / "recipes" / RECIPES[self.task], overrides).recipe


@dataclass(frozen=True)
class Setup:
    """What one process trains and scores with."""

    job: Job
    recipe: Recipe
    task: Any
    tokenizer: Any
    splits: Splits


def set_up(job: Job) -> Setup:
    """Read what the job's recipe names."""
    recipe = job.recipe()
    task = load_task(recipe.task)
    splits = read_splits(recipe, task.example_of)
    return Setup(job, recipe, task, load_tokenizer(model_folder(recipe.model)), splits)


def rows_of(features: Features) -> list[dict[str, Any]]:
    columns = features.columns
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

"""The benchmark of training: what both sides are given, and the benchmark itself, which must run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from train_jobs import LEARNING_RATE, TUTORIAL_LENGTH, WAYS, Job
from train_ways import padded


@pytest.mark.parametrize("task", LEARNING_RATE)
def test_all_ways_learn_from_the_same_examples_at_the_same_rate(task: str) -> None:
    recipes = [Job(task, way, 12, 4, 1, 42, None).recipe() for way in WAYS[task]]
    assert len({recipe.data.model_dump_json() for recipe in recipes}) == 1
    assert {recipe.train.learning_rate for recipe in recipes} == {LEARNING_RATE[task]}
    assert [recipe.train.bf16 for recipe in recipes] == [*[False] * (len(recipes) - 1), True]
    assert {recipe.model.torch_dtype for recipe in recipes[:-1]} == {"float32"}


def test_the_tutorial_pads_every_window() -> None:
    row = {"input_ids": [5, 6, 7], "token_type_ids": [0, 0, 1], "start_positions": 1}
    filled = padded(row, 9)
    assert filled["input_ids"] == [5, 6, 7] + [9] * (TUTORIAL_LENGTH - 3)
    assert len(filled["token_type_ids"]) == len(filled["attention_mask"]) == TUTORIAL_LENGTH
    assert sum(filled["attention_mask"]) == 3
    assert filled["start_positions"] == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_benchmark_prints_its_table(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, repository / "benchmarks" / "train.py", "--quick", "--tasks", "qa"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines()[-len(WAYS["qa"]) :]]
    assert rows == list(WAYS["qa"])

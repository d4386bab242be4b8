"""Text to text: a small T5 that begins from nothing writes what a bank's customers are asking about."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn
from models import save
from tiny_t5 import t5_model, t5_tokenizer

from rankfold.metrics.written_text import written_text_metrics

LEARNING_RATE = {"full": 5e-3, "lora": 5e-3}
TOPICS = (
    "age_limit",
    "apple_pay_or_google_pay",
    "atm_support",
    "card_arrival",
    "change_pin",
    "exchange_rate",
    "lost_or_stolen_card",
    "passcode_forgotten",
    "terminate_account",
    "verify_top_up",
)


def questions(path: Path) -> list[dict[str, str]]:
    """Questions of ten topics of Banking77, and the topic in words."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [
            {"source": row["text"], "target": row["category"].replace("_", " ")}
            for row in csv.DictReader(file)
            if row["category"] in TOPICS
        ]


def write(path: Path, rows: Sequence[dict[str, str]]) -> dict[str, Any]:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"path": str(path), "format": "jsonl"}


def chrf_of_always(answer: str, rows: Sequence[dict[str, str]]) -> float:
    scores = written_text_metrics([answer] * len(rows), [row["target"] for row in rows])
    return float(scores["chrf"])


@pytest.mark.slow
@pytest.mark.parametrize("method", TESTED)
def test_the_topic_of_a_question_is_written(method: str, shared_data: Path, tmp_path: Path) -> None:
    train = questions(shared_data / "banking77/train.csv.gz")
    test = questions(shared_data / "banking77/test.csv")
    tokenizer = t5_tokenizer([text for row in train for text in row.values()], vocab_size=600)
    model = t5_model(tokenizer, d_model=64, d_kv=16, d_ff=128, dropout_rate=0.0)
    recipe: dict[str, Any] = {
        "task": "seq2seq",
        "model": {"name_or_path": str(save(model, tokenizer, tmp_path / "tiny T5"))},
        "data": {
            "train": write(tmp_path / "train.jsonl", train),
            "test": write(tmp_path / "test.jsonl", test),
            "max_length": 48,
            "max_target_length": 24,
            "max_test_examples": 120,
        },
        "train": {
            "max_steps": 150,
            "learning_rate": LEARNING_RATE[method],
            "per_device_train_batch_size": 32,
            "warmup_steps": 0.1,
        },
        "evaluation": {
            "per_device_eval_batch_size": 64,
            "max_new_tokens": 16,
            "num_bootstrap_resamples": 200,
        },
    }
    # Who always writes the same has some letters right.
    chance = max(chrf_of_always(answer, test) for answer in Counter(row["target"] for row in train))
    run, learned = learn(tmp_path, recipe, method=method, data="Banking77, 10 topics in words", chance=chance)
    before, after = read(run.metrics("base")), read(run.metrics("fine_tuned"))
    assert after["num_examples"] == 120
    assert 20 < chance < 30
    assert learned.before < 10
    low, high = after["confidence_intervals"]["chrf"]
    assert 60 < low < learned.after < high
    assert after["exact_match_rate"] > 0.6
    assert after["perplexity"] < before["perplexity"] / 10
    assert after["finished_rate"] > 0.9

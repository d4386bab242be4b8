"""Embeddings through the stages, where the data decides by what a model is judged."""

import json
from pathlib import Path

import pytest
from tiny_runs import new_run

from rankfold.stages.prepare import prepare
from rankfold.stages.train import train

PAIRS = [{"text": f"river {number}", "positive": "the sea"} for number in range(9)]
SCORED = [{**pair, "score": number / 9} for number, pair in enumerate(PAIRS)]


@pytest.mark.parametrize(
    ("sides", "named", "judged_by"),
    [
        ({"train": SCORED, "validation": SCORED, "test": SCORED}, None, "spearman_cosine"),
        # What is only tested on says nothing of what can be measured during training.
        ({"train": PAIRS, "validation": PAIRS, "test": SCORED}, None, "ndcg_at_10"),
        ({"train": PAIRS, "validation": SCORED, "test": PAIRS}, None, "spearman_cosine"),
        ({"train": SCORED, "validation": SCORED, "test": SCORED}, "pearson_cosine", "pearson_cosine"),
    ],
)
def test_the_model_kept_is_best_by_what_the_validation_set_measures_unless_the_recipe_says(
    sides: dict[str, list[dict[str, object]]],
    named: str | None,
    judged_by: str,
    tmp_path: Path,
    encoder_folder: Path,
) -> None:
    data = {}
    for side, pairs in sides.items():
        path = tmp_path / f"{side}.jsonl"
        path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        data[side] = {"path": str(path), "format": "jsonl"}
    steps = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True}
    run = new_run(
        tmp_path,
        "embedding",
        encoder_folder,
        data=data,
        train={**steps, "metric_for_best_model": named},
        evaluation={"baseline": False},
    )
    prepare(run)
    train(run)
    summary = json.loads(run.train_summary.read_text())
    assert summary["metric_for_best_model"] == judged_by
    assert len(summary["eval_history"]) == 2

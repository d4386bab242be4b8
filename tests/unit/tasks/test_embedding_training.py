"""Embeddings through the stages, where the data decides by what a model is judged."""

import json
from pathlib import Path

from tiny_runs import new_run

from rankfold.stages.prepare import prepare
from rankfold.stages.train import train


def test_training_on_pairs_with_scores_keeps_the_model_that_agrees_best(
    tmp_path: Path, encoder_folder: Path
) -> None:
    pairs = [{"text": f"river {number}", "positive": "the sea", "score": number / 9} for number in range(9)]
    data = {}
    for side in ("train", "validation", "test"):
        path = tmp_path / f"{side}.jsonl"
        path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        data[side] = {"path": str(path), "format": "jsonl"}
    steps = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True}
    run = new_run(
        tmp_path, "embedding", encoder_folder, data=data, train=steps, evaluation={"baseline": False}
    )
    prepare(run)
    train(run)
    summary = json.loads(run.train_summary.read_text())
    assert summary["metric_for_best_model"] == "spearman_cosine"
    assert len(summary["eval_history"]) == 2

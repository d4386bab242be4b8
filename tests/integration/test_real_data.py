"""Whole runs through the command line, on real data with real models, two ranks training together."""

import json
import shutil
from pathlib import Path

import pytest
from commands import launch, read, submit

from rankfold.run_folder import RunFolder
from rankfold.stages.evaluate import evaluate
from rankfold.stages.merge import merge

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TWO_RANKS = ("resources.train.tasks_per_node=2", "resources.train.cpus_per_task=1")


def test_entities_in_chinese_news_are_learned_by_two_ranks(
    repository: Path, shared_data: Path, tmp_path: Path
) -> None:
    recipe = repository / "tests/integration/recipes/ccfbdci_smollm2.yaml"
    source = f"data.source.path={shared_data / 'ccfbdci' / 'ccfbdci.jsonl.gz'}"
    small = ("data.max_train_examples=16", "data.max_test_examples=6", "train.max_steps=2")
    run = submit(recipe, source, *small, *TWO_RANKS, "evaluation.max_new_tokens=48", runs=tmp_path)

    summary = read(run / "train_summary.json")
    assert (summary["world_size"], summary["global_step"]) == (2, 2)
    assert summary["trainable_parameters"] < summary["total_parameters"] / 10
    predictions = read(run / "results/fine_tuned/predictions.json")
    assert len(predictions) == 6
    metrics = read(run / "results/fine_tuned/metrics.json")
    assert set(metrics["per_label"]) >= {"地点", "人名", "地理实体", "组织"}
    assert metrics["num_examples"] == 6
    assert "<html" in (run / "report.html").read_text(encoding="utf-8")


def test_questions_in_chinese_are_answered_from_windows_of_four_shards(
    repository: Path, shared_data: Path, shared_models: Path, tmp_path: Path
) -> None:
    recipe = repository / "tests/integration/recipes/drcd_e5.yaml"
    run = submit(
        recipe,
        f"data.source.path={shared_data / 'drcd' / 'DRCD_dev.json.gz'}",
        f"model.name_or_path={shared_models / 'e5-small-zh-en'}",
        "data.max_train_examples=64",
        "data.max_test_examples=40",
        "train.max_steps=4",
        "evaluation.baseline=false",
        *TWO_RANKS,
        runs=tmp_path,
    )

    prepared = read(run / "prepared/summary.json")
    assert prepared["test"]["num_features"] > prepared["test"]["num_examples"] == 40
    manifests = list((run / "shards/fine_tuned").glob("*.json"))
    assert sum(read(path)["num_rows"] for path in manifests) == prepared["test"]["num_features"]
    assert len(read(run / "results/fine_tuned/predictions.json")) == 40
    metrics = read(run / "results/fine_tuned/metrics.json")
    assert metrics["total"] == 40
    assert {"exact_match", "f1", "cmrc_exact_match", "cmrc_f1"} <= set(metrics)
    status = json.loads(launch("status", run.name, "--json", runs=tmp_path).stdout)
    assert status["state"] == "completed"


def test_emerging_entities_are_tagged_alike_by_three_shards_and_by_one(
    repository: Path, shared_data: Path, shared_models: Path, tmp_path: Path
) -> None:
    run = submit(
        repository / "tests/integration/recipes/wnut17_tokens_e5.yaml",
        f"data.train.path={shared_data / 'wnut17' / 'wnut17train.conll.gz'}",
        f"data.test.path={shared_data / 'wnut17' / 'emerging.dev.conll'}",
        f"model.name_or_path={shared_models / 'e5-small-zh-en'}",
        "data.max_train_examples=64",
        "data.max_test_examples=100",
        "train.max_steps=4",
        "evaluation.baseline=false",
        "evaluation.shards=3",
        "evaluation.unit_size=16",
        runs=tmp_path,
    )
    results = {path.name: path.read_bytes() for path in (run / "results/fine_tuned").iterdir()}
    assert set(results) == {"predictions.json", "nbest.jsonl", "details.jsonl", "metrics.json"}
    assert json.loads(results["metrics.json"])["num_examples"] == 100
    candidates = [json.loads(line)["nbest"] for line in results["nbest.jsonl"].splitlines()]
    assert all(0 < one["score"] <= 1 for row in candidates for one in row)

    shutil.rmtree(run / "shards")
    shutil.rmtree(run / "results")
    folder = RunFolder(run)
    evaluate(folder, "fine_tuned", 0, 1)
    merge(folder)
    assert {path.name: path.read_bytes() for path in (run / "results/fine_tuned").iterdir()} == results

"""Whole runs of classification and multiple choice with tiny models: shards, validation, saved heads."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import read
from tiny_runs import evaluate_all, finish, new_run, results

from rankfold.known_metrics import metric_of
from rankfold.run_folder import RunFolder
from rankfold.stages.merge import merge

CITIES = ("Ulm", "Berlin", "Vienna")
LORA = {"method": "lora", "r": 4, "lora_alpha": 8}


def one_label(index: int) -> dict[str, Any]:
    city = CITIES[index % 3]
    return {"text": f"Anna moved to {city}.", "text_pair": f"Paul {index}", "label": city}


def several_labels(index: int) -> dict[str, Any]:
    chosen = [city for place, city in enumerate(CITIES) if index % 4 != place]
    return {"text": " and ".join(chosen), "labels": chosen}


def choices(index: int) -> dict[str, Any]:
    cities = list(CITIES[: 2 + index % 2])
    return {"question": f"Where does {cities[index % 2]} end?", "choices": cities, "answer": index % 2}


ROWS = {"one label": one_label, "several labels": several_labels, "choices": choices}


def source(path: Path, kind: str, number: int) -> dict[str, str]:
    path.write_text("".join(f"{json.dumps(ROWS[kind](index))}\n" for index in range(number)))
    return {"path": str(path), "format": "jsonl"}


def run_of(kind: str, folder: Path, model: Path) -> RunFolder:
    run = new_run(
        folder,
        "multiple_choice" if kind == "choices" else "text_classification",
        model,
        data={
            "train": source(folder / "train.jsonl", kind, 12),
            # The same examples under another name, so that both evaluations have to agree.
            "validation": source(folder / "validation.jsonl", kind, 7),
            "test": source(folder / "test.jsonl", kind, 7),
            "max_length": 24,
            "multi_label": kind == "several labels",
        },
        train={
            "max_steps": 4,
            "eval_strategy": "steps",
            "eval_steps": 2,
            "learning_rate": 0.01,
            "per_device_train_batch_size": 3,
            "gradient_accumulation_steps": 2,
        },
        evaluation={"unit_size": 2, "per_device_eval_batch_size": 2},
    )
    values = yaml.safe_load(run.recipe.read_text())
    values["model"]["adapter"] = LORA
    run.recipe.write_text(yaml.safe_dump(values))
    return run


@pytest.mark.parametrize("kind", ROWS)
def test_the_saved_model_does_what_the_trained_one_did_with_any_number_of_shards(
    kind: str, encoder_folder: Path, tmp_path: Path
) -> None:
    run = finish(run_of(kind, tmp_path, encoder_folder))
    at_once = results(run)
    metrics = read(run.metrics("fine_tuned"))
    history = read(run.train_summary)["eval_history"]
    assert [entry["step"] for entry in history] == [2, 4]
    name = {"choices": "accuracy", "one label": "macro_f1", "several labels": "micro_f1"}[kind]
    # Also the head, which the adapter's files hold beside the adapter.
    assert history[-1][name] == metrics[name]
    assert metrics["num_examples"] == 7
    assert run.nbest("base").read_bytes() != run.nbest("fine_tuned").read_bytes()

    for folder in (run.shards("base"), run.shards("fine_tuned")):
        for file in folder.iterdir():
            file.unlink()
    evaluate_all(run, 3)
    merge(run)
    assert results(run) == at_once


@pytest.mark.parametrize("kind", ROWS)
def test_a_test_set_without_labels_is_predicted_and_reported_but_not_scored(
    kind: str, encoder_folder: Path, tmp_path: Path
) -> None:
    run = run_of(kind, tmp_path, encoder_folder)
    path = tmp_path / "test.jsonl"
    rows = [ROWS[kind](index) for index in range(5)]
    for row in rows:
        del row[next(name for name in ("label", "labels", "answer") if name in row)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    finish(run)
    metrics = read(run.metrics("fine_tuned"))
    score = {"choices": "accuracy", "one label": "macro_f1", "several labels": "micro_f1"}[kind]
    assert (metrics[score], metrics["chance_accuracy"], metrics["num_examples"]) == (None, None, 0)
    assert len(read(run.predictions("fine_tuned"))) == 5
    lines = run.report_markdown.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert ["", metric_of(score).title, "n/a", "n/a", "n/a", ""] in cells

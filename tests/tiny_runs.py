"""Whole runs of tiny models on tiny data, as `launch submit` leaves them for the stages."""

import json
from pathlib import Path
from typing import Any

import yaml

from rankfold.atomic import write_json
from rankfold.run_folder import RunFolder
from rankfold.stages.evaluate import evaluate
from rankfold.stages.merge import merge
from rankfold.stages.prepare import prepare
from rankfold.stages.train import train

CITIES = ("Ulm", "Berlin", "Vienna", "Bonn", "Trier")


def entities_file(path: Path, number: int) -> dict[str, str]:
    rows = []
    for index in range(number):
        city = CITIES[index % len(CITIES)]
        text = f"Anna moved to {city} in {index}."
        entities = [{"start": 14, "end": 14 + len(city), "label": "place"}]
        rows.append({"id": f"t{index}", "text": text, "entities": entities})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path), "format": "spans"}


def questions_file(path: Path, number: int) -> dict[str, str]:
    paragraphs = []
    for index in range(number):
        city = CITIES[index % len(CITIES)]
        context = f"{'The river flows. ' * (index % 4)}Anna moved to {city}. The old town."
        answers = [{"text": city, "answer_start": context.index(city)}]
        qas = [{"id": f"q{index}", "question": "Where?", "answers": answers}]
        paragraphs.append({"context": context, "qas": qas})
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    return {"path": str(path), "format": "squad"}


def new_run(folder: Path, task: str, model: Path, **sections: Any) -> RunFolder:
    """A run as `launch submit` leaves it for the first stage."""
    write_data = questions_file if task == "extractive_qa" else entities_file
    values: dict[str, Any] = {
        "name": "tiny",
        "task": task,
        "model": {"name_or_path": str(model)},
        "data": {
            "train": write_data(folder / "train.json", 8),
            "test": write_data(folder / "test.json", 10),
            "max_length": 32 if task == "extractive_qa" else 256,
            "doc_stride": 8,
        },
        "train": {"max_steps": 3, "learning_rate": 0.01, "per_device_train_batch_size": 4},
        "evaluation": {
            "unit_size": 2,
            "per_device_eval_batch_size": 2,
            "max_new_tokens": 6,
            **({} if task == "extractive_qa" else {"num_beams": 2, "num_return_sequences": 2}),
        },
    }
    run = RunFolder(folder / "run")
    run.root.mkdir()
    run.recipe.write_text(yaml.safe_dump(values | sections))
    identity = {
        "run_id": "run",
        "name": "tiny",
        "created": "2026-01-02T03:04:05+00:00",
        "command": ["launch"],
    }
    write_json(run.run, identity | {"recipe_sha256": "0" * 64})
    return run


def evaluate_all(run: RunFolder, num_shards: int) -> None:
    for variant in ("base", "fine_tuned"):
        for shard in range(num_shards):
            evaluate(run, variant, shard, num_shards)


def results(run: RunFolder) -> dict[str, bytes]:
    folder = run.root / "results"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.json*"))}


def finish(run: RunFolder) -> RunFolder:
    """Run every stage, with one shard."""
    prepare(run)
    train(run)
    evaluate_all(run, 1)
    merge(run)
    return run

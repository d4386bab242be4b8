"""Runs as their stages leave them on disk: two of entity recognition, one of question answering."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unit.report.sample_examples import (
    BASE_PARSE_FAILURES,
    BASE_PREDICTED,
    ENTITY_TEXTS,
    FINE_TUNED_PARSE_FAILURES,
    FINE_TUNED_PREDICTED,
    LABELS,
    QUESTIONS,
    Pair,
)

from rankfold.metrics.entities import entity_metrics_of, example_f1, tally_entities
from rankfold.metrics.question_answering import answer_metrics_of
from rankfold.run_folder import RunFolder

RESAMPLES = 200

TUNED_ON_120 = {"tuned_on": {"share": 0.5, "seed": 42, "examples": 120}}


def write_entity_run(root: Path) -> RunFolder:
    """A whole run of `generative_ner`, with every file that the stages write."""
    run = RunFolder(root)
    _write_common(run, name="harbour-ner", task="generative_ner", model="Qwen/Qwen2-1.5B-Instruct")
    for variant, predicted, failures in (
        ("base", BASE_PREDICTED, BASE_PARSE_FAILURES),
        ("fine_tuned", FINE_TUNED_PREDICTED, FINE_TUNED_PARSE_FAILURES),
    ):
        _write_entity_results(run, variant, predicted, failures)
    return run


def write_tagging_run(root: Path) -> RunFolder:
    """A whole run of `token_classification`: nothing is generated, so nothing is invented or unreadable."""
    run = RunFolder(root)
    _write_common(run, name="harbour-tags", task="token_classification", model="bert-base-chinese")
    for variant, predicted in (("base", BASE_PREDICTED), ("fine_tuned", FINE_TUNED_PREDICTED)):
        in_text = {
            number: tuple(pair for pair in pairs if pair[0] in ENTITY_TEXTS[number][0])
            for number, pairs in predicted.items()
        }
        _write_entity_results(run, variant, in_text, frozenset(), generates=False)
    add_evaluations(run, "entity_f1", {320: 0.5812, 640: 0.7344, 960: 0.7406, 1_280: 0.7189})
    with run.recipe.open("a", encoding="utf-8") as recipe:
        recipe.write("  load_best_model_at_end: true\n")
    return run


def write_question_run(root: Path) -> RunFolder:
    """A whole run of `extractive_qa` over questions of which one has no answer."""
    run = RunFolder(root)
    _write_common(run, name="lighthouse-qa", task="extractive_qa", model="distilbert-base-cased")
    for place, variant in enumerate(("base", "fine_tuned")):
        details = [_question_detail(number, place) for number in range(len(QUESTIONS))]
        write_lines(run.details(variant), details)
        metrics = answer_metrics_of(details, version_2_with_negative=True, resamples=RESAMPLES, seed=42)
        write(run.metrics(variant), metrics)
    return run


def add_evaluations(run: RunFolder, metric: str, values: dict[int, float]) -> None:
    """Have the training evaluate: step → value of the metric that decides, of which more is better."""
    summary = json.loads(run.train_summary.read_text(encoding="utf-8"))
    evaluations = [
        {"step": step, "epoch": step / 640, metric: value, "runtime": 9.5, "num_examples": 50}
        for step, value in values.items()
    ]
    best_step = max(values, key=values.__getitem__)
    best = {"metric_for_best_model": metric, "best_metric": values[best_step], "best_step": best_step}
    write(run.train_summary, summary | {"eval_history": evaluations} | best)


def merge_again(run: RunFolder, variant: str, settings: dict[str, Any]) -> None:
    """Leave what a merge under other settings leaves beside its results; the results stay as they are."""
    write(run.merge_settings(variant), settings)


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")


def write_lines(path: Path, values: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    path.write_text("".join(lines), encoding="utf-8")


def write_start(run: RunFolder, *, name: str, task: str, model: str) -> None:
    """What a run has from its first moment."""
    write(
        run.run,
        {
            "run_id": run.run_id,
            "name": name,
            "created": "2026-03-14T09:26:53+00:00",
            "command": ["launch", "submit", f"recipes/{name}.yaml", "train.learning_rate=1.0e-4"],
            "recipe_sha256": "0" * 64,
        },
    )
    run.recipe.write_text(
        f"name: {name}\ntask: {task}\nmodel:\n  name_or_path: {model}\n"
        "data:\n  max_length: 384\n"
        "evaluation:\n  max_answer_length: 30\n  null_score_diff_threshold: 0.0\n"
        "train:\n  num_train_epochs: 2\n  learning_rate: 1.0e-4\n",
        encoding="utf-8",
    )


def _write_common(run: RunFolder, *, name: str, task: str, model: str) -> None:
    write_start(run, name=name, task=task, model=model)
    write(
        run.recipe_sources,
        {"name": f"recipes/{name}.yaml:1", "train.learning_rate": "command line", "seed": "default"},
    )
    write(run.code / "git.json", {"revision": "4f1d2c9" + "0" * 33, "branch": "main", "dirty": True})
    write(
        run.environment,
        {
            "python": "3.11.9",
            "platform": "Linux-6.1.0-x86_64",
            "cpu_count": 32,
            "gpus": ["NVIDIA H100 80GB HBM3"] * 2,
            "packages": {"transformers": "5.23.0", "torch": "2.13.0", "accelerate": "1.15.0"},
        },
    )
    _write_jobs(run)
    _write_training(run)
    _write_prepared(run, task)


def _write_prepared(run: RunFolder, task: str) -> None:
    counts = {"num_features": 41_880, "num_tokens": 5_310_442, "num_truncated": 97}
    dropped = {"no entity with a wanted label": 1_204, "text is empty": 3}
    write(
        run.prepare_summary,
        {
            "task": task,
            "labels": [] if task == "extractive_qa" else LABELS,
            "max_length": 384,
            "dropped_before_split": {"question without a usable answer": 12},
            "repaired": {"train": {"offsets moved to entity_text": 50}},
            "train": {"num_examples": 14_123, **counts, "dropped": dropped},
            "test": {**counts, "num_examples": 14, "num_features": 14, "num_tokens": 812, "num_truncated": 0}
            | {"dropped": {}},
        },
    )


def _write_jobs(run: RunFolder) -> None:
    seconds = {"prepare": 41.3, "train": 5_231.0, "merge": None}
    seconds |= {f"evaluate-base-{shard}": 200.0 + shard for shard in range(11)}
    seconds |= {f"evaluate-fine_tuned-{shard}": 180.0 + shard for shard in range(11)}
    for job, took in seconds.items():
        state = "running" if took is None else "completed"
        write(
            run.job_state(job),
            {
                "job": job,
                "stage": job.split("-")[0],
                "state": state,
                "ranks": 1,
                "seconds": took,
                "error": None,
            },
        )


def _write_training(run: RunFolder) -> None:
    history = [
        {
            "step": step,
            "epoch": step / 640,
            "loss": round(0.21 + 1.9 * math.exp(-step / 170) + 0.05 * math.sin(step / 7), 4),
            "learning_rate": 1e-4 * (1 - step / 1280),
            "grad_norm": 1.0,
        }
        for step in range(10, 1281, 10)
    ]
    write(
        run.train_summary,
        {
            "global_step": 1_280,
            "train_loss": 0.4312,
            "train_runtime_s": 5_190.2,
            "train_samples_per_second": 16.14,
            "world_size": 8,
            "global_batch_size": 64,
            "trainable_parameters": 9_232_384,
            "total_parameters": 1_552_946_688,
            "log_history": [*history, {"step": 1_280, "train_loss": 0.4312}],
        },
    )


def _write_entity_results(
    run: RunFolder,
    variant: str,
    predicted: dict[int, tuple[Pair, ...]],
    failures: frozenset[int],
    *,
    generates: bool = True,
) -> None:
    details = []
    for number, (text, entities) in enumerate(ENTITY_TEXTS):
        pairs, is_broken = predicted.get(number, ()), number in failures
        row = {
            "id": f"test-{number:03}",
            "text": text,
            "gold": [_span(text, pair) for pair in entities],
            "predicted": [[*_span(text, pair), 0.875] for pair in pairs if pair[0] in text],
            "invented": [{"text": name, "label": label} for name, label in pairs if name not in text],
            "parse_failure": is_broken,
            "generated": [_generated(pairs, broken=is_broken)] if generates else [],
        }
        details.append(row | {"f1": example_f1(tally_entities(row).strict)})
    write_lines(run.details(variant), details)
    write(run.metrics(variant), entity_metrics_of(details, LABELS, resamples=RESAMPLES, seed=42))


def _span(text: str, pair: Pair) -> list[int | str]:
    start = text.index(pair[0])
    return [start, start + len(pair[0]), pair[1]]


def _generated(pairs: Sequence[Pair], *, broken: bool) -> str:
    if broken:
        return 'Sure! Here they are: {"entity_text": "Siemens", "entity_label": <img src=x onerror=alert(1)>'
    objects = [{"entity_text": text, "entity_label": label} for text, label in pairs]
    return "".join(json.dumps(value, ensure_ascii=False) for value in objects) or "No entities."


def _question_detail(number: int, place: int) -> dict[str, Any]:
    question = QUESTIONS[number]
    prediction, context = question["predictions"][place], question["context"]
    start = context.index(prediction) if prediction else None
    return {
        "id": f"q-{number}",
        "question": question["question"],
        "context": context,
        "answers": [{"text": gold, "answer_start": context.index(gold)} for gold in question["golds"]],
        "prediction": prediction,
        "start": start,
        "end": None if start is None else start + len(prediction),
        "probability": 0.75,
        "null_score_difference": number - 2.5,
        "exact_match": int(question["f1"][place] == 1),
        "f1": question["f1"][place],
    }

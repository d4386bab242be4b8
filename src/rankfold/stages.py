"""The four stages of a run: prepare → train → evaluate (shards) → merge.

Each reads what the stage before wrote, and writes its own part of the run folder so that it is whole or
absent. What is there already is not computed again; only merge, which is quick, always writes afresh.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel

from rankfold import atomic
from rankfold.data.examples import Example
from rankfold.data.splits import read_splits
from rankfold.data.store import read_stored, write_examples
from rankfold.distributed import device, ranks
from rankfold.errors import OperationalError
from rankfold.fingerprints import evaluation_fingerprint, folder_sha256
from rankfold.modeling.load import load_model, load_tokenizer, load_trained
from rankfold.modeling.sources import model_folder
from rankfold.nbest.units import (
    Fingerprint,
    Unit,
    is_complete,
    plan_units,
    read_units,
    units_of_shard,
    write_unit,
)
from rankfold.progress import Progress
from rankfold.recipe.load import load_recipe
from rankfold.recipe.schema import Recipe
from rankfold.report.write import write_report
from rankfold.run_folder import VARIANTS, PreparedFolder, RunFolder, job_name
from rankfold.tasks.base import Features, Task
from rankfold.tasks.registry import load_task


def prepare(run: RunFolder) -> None:
    """Read, divide and tokenise the data, once, for every later stage.

    Raises:
        DataError: The data is missing, broken, empty or does not fit max_length.
        ModelError: The model cannot be found.
    """
    if run.prepare_summary.is_file():
        print("prepare was done before: nothing to do")
        return
    recipe, task = _recipe_and_task(run)
    folder = model_folder(recipe.model)
    tokenizer = load_tokenizer(folder)
    splits = read_splits(recipe)
    train = task.training_features(splits.train, tokenizer, recipe, splits.labels)
    test = task.evaluation_features(splits.test, tokenizer, recipe, splits.labels)
    summary: dict[str, Any] = {
        "task": recipe.task,
        "labels": list(splits.labels),
        "max_length": recipe.data.max_length,
        "model_folder": str(folder),
        # Before one source is divided nobody knows which side a dropped example would have been on.
        "dropped_before_split": dict(splits.dropped.get("source", {})),
        "repaired": {side: dict(counts) for side, counts in splits.repaired.items() if counts},
        "train": _counts(splits.train, train, splits.dropped.get("train", {})),
        "test": _counts(splits.test, test, splits.dropped.get("test", {})),
    }
    with atomic.folder(run.prepared.root) as partial:
        prepared = PreparedFolder(partial)
        tokenizer.save_pretrained(prepared.tokenizer)
        for split, examples, features in (("train", splits.train, train), ("test", splits.test, test)):
            write_examples(prepared.examples(split), examples, task.example_type)
            Dataset.from_dict(features.columns).save_to_disk(prepared.features(split))
        summary["fingerprint"] = {
            "model": folder_sha256(folder),
            "tokenizer": folder_sha256(prepared.tokenizer),
            "features": folder_sha256(prepared.features("test"), (".arrow",)),
        }
        atomic.write_json(prepared.summary, summary)
    _say_counts(summary)


def train(run: RunFolder) -> None:
    """Fine-tune on every rank of the job and save the model or adapter.

    Raises:
        ModelError: The model does not fit the task or the adapter.
        NumericalError: The loss is no longer a number.
        OperationalError: The ranks do not see each other, or the saved model is not whole.
    """
    if run.train_summary.is_file() and run.model.is_dir():
        print("train was done before: nothing to do")
        return
    _demand(run.prepare_summary, "prepare")
    # The Trainer and PEFT take seconds to import, which the other stages need not wait for.
    from rankfold.training.fine_tune import fine_tune

    recipe, task = _recipe_and_task(run)
    here = ranks()
    summary = fine_tune(
        run,
        recipe,
        task,
        base=model_folder(recipe.model),
        tokenizer=load_tokenizer(run.prepared.tokenizer),
        features=Dataset.load_from_disk(str(run.prepared.features("train"))),
        world_size=here.world_size,
    )
    if here.is_main:
        atomic.write_json(run.train_summary, summary | {"model_sha256": folder_sha256(run.model)})


def evaluate(run: RunFolder, variant: str, shard: int, num_shards: int) -> None:
    """Run the model over this shard's work units; those that are there already stay as they are.

    Raises:
        NumericalError: The model gave NaN or infinity; names the window or text and the shard.
    """
    _demand(run.prepare_summary, "prepare")
    recipe, task = _recipe_and_task(run)
    name = job_name("evaluate", variant, shard)
    features = _test_features(run)
    units = units_of_shard(plan_units(len(features), recipe.evaluation.unit_size), shard, num_shards)
    fingerprint = _fingerprint(run, recipe, variant)
    missing = [unit for unit in units if not is_complete(run.shards(variant), unit, fingerprint)]
    print(f"{name}: {len(missing)} of {len(units)} work units to compute")
    if not missing:
        return
    tokenizer = load_tokenizer(run.prepared.tokenizer)
    model = _model(run, recipe, task, variant)
    done = _Counter(Progress(run.progress(name), "evaluate", task.unit_name, sum(map(_size, missing))))
    for unit in missing:
        payload = task.predict(
            model,
            tokenizer,
            features,
            unit,
            recipe,
            shard=f"shard {shard} ({variant})",
            advance=done.add,
        )
        write_unit(run.shards(variant), unit, payload, fingerprint, _size(unit))


def merge(run: RunFolder) -> None:
    """Merge every shard into predictions and scores, then write the report.

    Raises:
        ShardError: A work unit is missing, damaged, from another run, or contradicts another.
    """
    _demand(run.prepare_summary, "prepare")
    recipe, task = _recipe_and_task(run)
    examples = read_stored(run.prepared.examples("test"), task.example_type)
    features = _test_features(run)
    labels = _summary(run)["labels"]
    for variant in VARIANTS if recipe.evaluation.baseline else VARIANTS[1:]:
        units = plan_units(len(features), recipe.evaluation.unit_size)
        payloads = read_units(run.shards(variant), units, _fingerprint(run, recipe, variant))
        results = task.merge(payloads, examples, features, recipe, labels)
        with atomic.folder(run.results(variant)) as partial:
            atomic.write_json(partial / run.predictions(variant).name, results.predictions)
            atomic.write_json_lines(partial / run.nbest(variant).name, results.nbest)
            atomic.write_json_lines(partial / run.details(variant).name, results.details)
            atomic.write_json(partial / run.metrics(variant).name, results.metrics)
        print(f"{variant}: {results.metrics}")
    write_report(run)


def _recipe_and_task(run: RunFolder) -> tuple[Recipe, Task[Any]]:
    recipe = load_recipe(run.recipe).recipe
    return recipe, load_task(recipe.task)


def _demand(path: Path, stage: str) -> None:
    if not path.is_file():
        raise OperationalError(
            f"there is no {path.name}, so the stage {stage} has not ended well",
            where=str(path.parent),
            remedy=f"Run {stage} first.",
        )


def _summary(run: RunFolder) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(run.prepare_summary.read_text(encoding="utf-8"))
    return summary


def _test_features(run: RunFolder) -> Dataset:
    return Dataset.load_from_disk(str(run.prepared.features("test")))


def _fingerprint(run: RunFolder, recipe: Recipe, variant: str) -> Fingerprint:
    hashes = dict(_summary(run)["fingerprint"])
    if variant == "fine_tuned":
        _demand(run.train_summary, "train")
        trained = json.loads(run.train_summary.read_text(encoding="utf-8"))
        hashes["model"] += f"+{trained['model_sha256']}"
    return evaluation_fingerprint(recipe, **hashes)


def _model(run: RunFolder, recipe: Recipe, task: Task[Any], variant: str) -> PreTrainedModel:
    base = model_folder(recipe.model)
    # A new head is random: with a fixed seed every shard scores the same "before".
    torch.manual_seed(recipe.seed)
    if variant == "base":
        model = load_model(base, recipe.model, task.auto_class).model
    else:
        model = load_trained(base, run.model, recipe.model, task.auto_class)
    return model.to(device()).eval()


def _counts(
    examples: Sequence[Example], features: Features, dropped: Mapping[str, int]
) -> dict[str, int | dict[str, int]]:
    return {
        "num_examples": len(examples),
        "num_features": len(features),
        "num_tokens": features.num_tokens,
        "num_truncated": features.num_truncated,
        "dropped": {**dropped, **features.dropped},
    }


def _say_counts(summary: Mapping[str, Any]) -> None:
    for split in ("train", "test"):
        counts = summary[split]
        print(
            f"{split}: {counts['num_examples']:,} examples, {counts['num_features']:,} features, "
            f"{counts['num_tokens']:,} tokens; {counts['num_truncated']:,} truncated at max_length"
        )
    lost = {split: summary[split]["dropped"] for split in ("train", "test")}
    lost["source"] = summary["dropped_before_split"]
    for kind, sides in (("dropped from", lost), ("repaired in", summary["repaired"])):
        for side, reasons in sides.items():
            for reason, count in reasons.items():
                print(f"{kind} {side}: {count:,} × {reason}")


def _size(unit: Unit) -> int:
    return unit.stop - unit.start


class _Counter:
    """Adds up the rows done and passes the sum on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0

    def add(self, rows: int) -> None:
        self._done += rows
        self._progress.update(self._done)

"""Training runs with an evaluation along the way, on the data of tiny_runs."""

from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset
from tiny_runs import entities_file, new_run, questions_file

from rankfold import atomic
from rankfold.data.store import iterate_stored
from rankfold.lifeline import Lifeline
from rankfold.modeling.load import load_tokenizer
from rankfold.run_folder import RunFolder
from rankfold.stages.inputs import prepared_summary, recipe_and_task
from rankfold.stages.prepare import prepare
from rankfold.training.fine_tune import fine_tune
from rankfold.training.validation import Validation, ValidationSet

NUM_EXAMPLES = 5
"""No multiple of the unit's and the batch's two."""


def prepared_run(
    folder: Path, task: str, base: Path, *, adapter: dict[str, Any] | None = None, **sections: dict[str, Any]
) -> RunFolder:
    """A prepared run that is trained, validated and tested on the same few examples, so that it learns."""
    write_data = questions_file if task == "extractive_qa" else entities_file
    train = {
        "max_steps": 20,
        "learning_rate": 0.01,
        "per_device_train_batch_size": NUM_EXAMPLES,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 10,
    }
    evaluation = {
        "baseline": False,
        "unit_size": 2,
        "per_device_eval_batch_size": 2,
        "max_new_tokens": 16,
        "num_bootstrap_resamples": 10,
    }
    data = {
        # Each of its own name, none of new_run's: a recipe that tests on what it trains on is refused.
        "train": write_data(folder / "few_train.json", NUM_EXAMPLES),
        "validation": write_data(folder / "few_validation.json", NUM_EXAMPLES),
        "test": write_data(folder / "few_test.json", NUM_EXAMPLES),
        "max_length": 32 if task == "extractive_qa" else 256,
        "doc_stride": 8,
    }
    run = new_run(
        folder,
        task,
        base,
        data=data,
        train=train | sections.get("train", {}),
        evaluation=evaluation | sections.get("evaluation", {}),
    )
    values = yaml.safe_load(run.recipe.read_text())
    values["model"] |= {"adapter": adapter} | sections.get("model", {})
    values["distributed"] = sections.get("distributed", {})
    run.recipe.write_text(yaml.safe_dump(values))
    prepare(run)
    return run


def validation_of(run: RunFolder) -> Validation:
    recipe, task = recipe_and_task(run)
    examples = list(iterate_stored(run.prepared.examples("test"), task.example_type))
    features = Dataset.load_from_disk(str(run.prepared.features("test")))
    return Validation(
        task,
        recipe,
        load_tokenizer(run.prepared.tokenizer),
        prepared_summary(run)["labels"],
        ValidationSet(examples, features),
    )


def trained(run: RunFolder, *, world_size: int = 1, lifeline: Lifeline | None = None) -> dict[str, Any]:
    """Fine-tune, with the validation set where the recipe evaluates one, and leave what evaluate reads."""
    validation = validation_of(run)
    evaluates = validation.recipe.train.eval_strategy != "no"
    summary = fine_tune(
        run,
        validation.recipe,
        validation.task,
        base=Path(validation.recipe.model.name_or_path),
        tokenizer=validation.tokenizer,
        labels=validation.labels,
        features=Dataset.load_from_disk(str(run.prepared.features("train"))),
        validation=validation.set if evaluates else None,
        world_size=world_size,
        lifeline=lifeline,
    )
    atomic.write_json(run.train_summary, summary | {"model_sha256": "0"})
    return summary

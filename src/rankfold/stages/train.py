"""train: fine-tune on every rank of the job and save the model or adapter."""

from typing import Any

from datasets import Dataset

from rankfold import atomic
from rankfold.data.store import iterate_stored
from rankfold.distributed import leave
from rankfold.errors import StoppedError
from rankfold.fingerprints import folder_sha256
from rankfold.lifeline import Lifeline
from rankfold.modeling.load import load_tokenizer
from rankfold.modeling.sources import model_folder
from rankfold.ranks import ranks
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder
from rankfold.stages.inputs import prepared_summary, recipe_and_task
from rankfold.tasks.base import Task
from rankfold.training.fine_tune import fine_tune
from rankfold.training.validation import ValidationSet


def train(run: RunFolder, lifeline: Lifeline | None = None) -> None:
    """Fine-tune on every rank of the job and save the model or adapter.

    Args:
        run: The run, prepared.
        lifeline: Hears that training gets on, and says when to stop.

    Raises:
        ModelError: The model does not fit the task or the adapter.
        NumericalError: The loss is no longer a number.
        OperationalError: The ranks do not see each other, or the saved model is not whole.
        OSError: There is no room for a checkpoint or the model.
        StoppedError: A rank was asked to stop; training goes on from a checkpoint of its last step.
    """
    lifeline = lifeline or Lifeline()
    lifeline.beat()
    if run.train_summary.is_file() and run.model.is_dir():
        print("train was done before: nothing to do")
        return
    labels = prepared_summary(run)["labels"]
    recipe, task = recipe_and_task(run)
    # What the data decides is decided by the test set, during training too.
    recipe = task.settle(recipe, iterate_stored(run.prepared.examples("test"), task.example_type))
    validation = _validation_set(run, task) if recipe.train.eval_strategy != "no" else None
    if validation is not None:
        recipe = _judged(recipe, task, validation)
    here = ranks()
    try:
        summary = fine_tune(
            run,
            recipe,
            task,
            base=model_folder(recipe.model),
            tokenizer=load_tokenizer(run.prepared.tokenizer),
            features=Dataset.load_from_disk(str(run.prepared.features("train"))),
            world_size=here.world_size,
            labels=labels,
            validation=validation,
            lifeline=lifeline,
        )
    except StoppedError:
        # All ranks stop together; after any other error the rest may still be in a collective.
        leave()
        raise
    leave()
    if here.is_main:
        atomic.write_json(run.train_summary, summary | {"model_sha256": folder_sha256(run.model)})


def _judged(recipe: Recipe, task: Task[Any], validation: ValidationSet) -> Recipe:
    """Name the metric that says which checkpoint is best, if the recipe leaves that to the validation set."""
    name = recipe.train.metric_for_best_model or task.metric_for_best_model(validation.examples)
    train = recipe.train.model_copy(update={"metric_for_best_model": name})
    return recipe.model_copy(update={"train": train})


def _validation_set(run: RunFolder, task: Task[Any]) -> ValidationSet:
    return ValidationSet(
        examples=list(iterate_stored(run.prepared.examples("validation"), task.example_type)),
        features=Dataset.load_from_disk(str(run.prepared.features("validation"))),
    )

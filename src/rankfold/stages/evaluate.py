"""evaluate: run the model over a shard's work units and write their records."""

from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel

from rankfold.distributed import device
from rankfold.errors import StoppedError
from rankfold.evaluation.work import UnitWork
from rankfold.lifeline import Lifeline
from rankfold.modeling.load import load_model, load_tokenizer, load_trained
from rankfold.modeling.sources import model_folder
from rankfold.nbest.coverage import is_complete
from rankfold.nbest.units import Unit, plan_units, units_of_shard, write_unit
from rankfold.progress import Progress
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder, job_name
from rankfold.stages.inputs import demand, prepared_summary, recipe_and_task, run_fingerprint
from rankfold.tasks.base import Task


def evaluate(
    run: RunFolder, variant: str, shard: int, num_shards: int, lifeline: Lifeline | None = None
) -> None:
    """Run the model over this shard's work units; those that are there already stay as they are.

    Args:
        run: The run, prepared and for its own model trained.
        variant: Which model, one of VARIANTS.
        shard: Which of the `num_shards` shards.
        num_shards: How many there are.
        lifeline: Hears of every batch, and says when to stop.

    Raises:
        NumericalError: The model gave NaN or infinity; names the window or text and the shard.
        StoppedError: This rank was asked to stop; the work units done so far stay.
    """
    lifeline = lifeline or Lifeline()
    lifeline.beat()
    demand(run.prepare_summary, "prepare")
    recipe, task = recipe_and_task(run)
    name = job_name("evaluate", variant, shard)
    features = Dataset.load_from_disk(str(run.prepared.features("test")))
    units = units_of_shard(plan_units(len(features), recipe.evaluation.unit_size), shard, num_shards)
    fingerprint = run_fingerprint(run, recipe, task, variant)
    missing = [unit for unit in units if not is_complete(run.shards(variant), unit, fingerprint)]
    print(f"{name}: {len(missing)} of {len(units)} work units to compute")
    if not missing:
        return
    tokenizer = load_tokenizer(run.prepared.tokenizer)
    model = load_variant(run, recipe, task, variant)
    progress = Progress(run.progress(name), "evaluate", task.unit_name, sum(map(_size, missing)))
    done = _Counter(progress, lifeline)
    for number, unit in enumerate(missing):
        if lifeline.stop_reason is not None:
            raise StoppedError(
                f"stopped as asked ({lifeline.stop_reason}): {len(missing) - number} of {len(units)} work "
                "units are left",
                where=name,
                remedy="The evaluation goes on with those.",
            )
        work = UnitWork.of(features, unit, shard=f"shard {shard} ({variant})", advance=done.add)
        payload = task.predict(model, tokenizer, work, recipe)
        write_unit(run.shards(variant), unit, payload, fingerprint, _size(unit))


def load_variant(run: RunFolder, recipe: Recipe, task: Task[Any], variant: str) -> PreTrainedModel:
    """Load the base or the trained model of a run, ready to answer, where this rank computes."""
    base = model_folder(recipe.model)
    config = task.model_config(prepared_summary(run)["labels"])
    # A new head is random: with a fixed seed every shard scores the same "before".
    torch.manual_seed(recipe.seed)
    if variant == "base":
        model = load_model(base, recipe.model, task.auto_class, config).model
    else:
        model = load_trained(base, run.model, recipe.model, task.auto_class, config)
    # In few bits it is where it was loaded, and cannot be moved.
    return model.eval() if recipe.model.quantization else model.to(device()).eval()


def _size(unit: Unit) -> int:
    return unit.stop - unit.start


class _Counter:
    """Adds up the rows done and passes the sum on; each batch is a sign of life."""

    def __init__(self, progress: Progress, lifeline: Lifeline) -> None:
        self._progress = progress
        self._lifeline = lifeline
        self._done = 0

    def add(self, rows: int) -> None:
        self._lifeline.beat()
        self._done += rows
        self._progress.update(self._done)

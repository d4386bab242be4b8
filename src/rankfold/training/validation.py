"""Evaluation during training: the records, the merge and the metrics of the evaluation after it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations import is_deepspeed_zero3_enabled

from rankfold.data.examples import Example
from rankfold.distributed import all_gather_bytes
from rankfold.errors import NumericalError
from rankfold.evaluation.work import UnitWork
from rankfold.lifeline import Lifeline
from rankfold.nbest.units import Unit, plan_units, units_of_shard
from rankfold.ranks import ranks
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import RecordedExamples, Task


@dataclass(frozen=True)
class ValidationSet:
    """What training is evaluated on along the way.

    Attributes:
        features: The examples' rows of the task's evaluation features.
    """

    examples: Sequence[Example]
    features: Dataset


@dataclass(frozen=True)
class Validation:
    """Scores a model on a validation set as the evaluation stage and the merge would."""

    task: Task[Any]
    recipe: Recipe
    tokenizer: PreTrainedTokenizerBase
    labels: Sequence[str]
    set: ValidationSet

    def metrics(self, model: PreTrainedModel | PeftModel, lifeline: Lifeline) -> dict[str, float]:
        """Return the task's metrics that are plain numbers; every rank calls this and gets the same.

        The model and the random state are left as they were.

        Raises:
            NumericalError: The model gave NaN or infinity, on every rank; names the window or text and the
                rank that met it.
        """
        units = plan_units(len(self.set.features), self.recipe.evaluation.unit_size)
        with lent_for_inference(model) as lent:
            payloads = self._payloads(lent, units, lifeline)
        scores = json.dumps(self._scores(payloads)).encode() if ranks().is_main else b""
        # From one rank to all, so that they agree on the best checkpoint and on when to stop.
        agreed: dict[str, float] = json.loads(all_gather_bytes([scores])[0][0])
        return agreed

    def _payloads(self, model: PreTrainedModel, units: Sequence[Unit], lifeline: Lifeline) -> list[bytes]:
        """Every unit's records, in the order of the units, each computed by one rank."""
        if is_deepspeed_zero3_enabled():
            # Every pass gathers parameters from all ranks, so all ranks must make the same passes.
            return [self._predict(model, unit, lifeline) for unit in units]
        here = ranks()
        shares = units_of_shard(units, here.rank, here.world_size)
        with raised_on_every_rank():
            mine = [self._predict(model, unit, lifeline) for unit in shares]
        gathered = all_gather_bytes(mine)
        return [gathered[unit.index % here.world_size][unit.index // here.world_size] for unit in units]

    def _predict(self, model: PreTrainedModel, unit: Unit, lifeline: Lifeline) -> bytes:
        work = UnitWork.of(
            self.set.features,
            unit,
            shard=f"rank {ranks().rank} (validation)",
            advance=lambda rows: lifeline.beat(),
        )
        return self.task.predict(model, self.tokenizer, work, self.recipe)

    def _scores(self, payloads: Sequence[bytes]) -> dict[str, float]:
        # Intervals take time, and nothing is decided by them here.
        evaluation = self.recipe.evaluation.model_copy(update={"num_bootstrap_resamples": 0})
        recipe = self.recipe.model_copy(update={"evaluation": evaluation})
        recorded = RecordedExamples(payloads, self.set.examples, self.set.features.data.table)
        merged = self.task.merge(recorded, recipe, self.labels)
        details = map(json.loads, merged.details.splitlines())
        metrics = self.task.metrics(details, recipe, self.labels)
        return {name: value for name, value in metrics.items() if _is_number(value)}


@contextmanager
def raised_on_every_rank() -> Iterator[None]:
    """Have every rank raise a NumericalError that one met: the others would wait for its part for ever."""
    met: NumericalError | None = None
    try:
        yield
    except NumericalError as error:
        met = error
    parts = [] if met is None else [text.encode() for text in (met.message, met.where, met.remedy)]
    found = next((rank for rank in all_gather_bytes(parts) if rank), None)
    if met is not None:
        raise met
    if found is not None:
        message, where, remedy = (part.decode() for part in found)
        raise NumericalError(message, where=where, remedy=remedy)


@contextmanager
def lent_for_inference(model: PreTrainedModel | PeftModel) -> Iterator[PreTrainedModel]:
    """Lend the model under training as the evaluation stage would load it, and take it back as it was.

    Adapters stay unmerged. Accelerate's autocast lies on `forward` as an attribute of the object; the
    evaluation stage has none.
    """
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    trained, generation = inner.training, getattr(inner, "generation_config", None)
    autocast = vars(inner).pop("forward", None)
    # Generating with a seed would have training go on with other dropout masks.
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=gpus):
            yield inner.eval()
    finally:
        inner.train(trained)
        if autocast is not None:
            inner.forward = autocast
        if generation is not None:
            inner.generation_config = generation


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

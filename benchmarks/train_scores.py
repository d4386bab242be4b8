"""How train.py scores what was trained: F1, the held-out loss, and how long generating takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from train_jobs import NEW_TOKENS, Setup, rows_of
from train_turns import clock, tell, wait_for_turn
from transformers import PreTrainedModel

from rankfold.data.causal import collate_causal
from rankfold.data.chat import stop_ids
from rankfold.evaluation.generation import generate
from rankfold.evaluation.work import UnitWork
from rankfold.nbest.units import Unit
from rankfold.tasks.base import RecordedExamples


def answer_f1(setup: Setup, model: Any) -> dict[str, Any]:
    """SQuAD's F1 of the test questions with its 95 % interval, as the evaluation stage computes it."""
    recipe, task, splits = setup.recipe, setup.task, setup.splits
    columns = task.evaluation_features(splits.test, setup.tokenizer, recipe, splits.labels).columns
    features = Dataset.from_dict(columns)
    work = UnitWork.of(features, Unit(0, 0, len(features)), shard="benchmark", advance=lambda _: None)
    records = [task.predict(model, setup.tokenizer, work, recipe)]
    settled = task.settle(recipe, splits.test)
    merged = task.merge(RecordedExamples(records, splits.test, features.data.table), settled, splits.labels)
    metrics = task.metrics(map(json.loads, merged.details.splitlines()), settled, splits.labels)
    return {"score": metrics["f1"], "interval": metrics["confidence_intervals"]["f1"]}


@torch.inference_mode()
def answer_loss(setup: Setup, model: Any) -> dict[str, Any]:
    """The loss a token of the test texts' answers, in float32 for every way."""
    task, splits, tokenizer = setup.task, setup.splits, setup.tokenizer
    rows = rows_of(task.training_features(splits.test, tokenizer, setup.recipe, splits.labels))
    total = items = 0.0
    for row in rows:
        batch = {
            name: value.to(model.device) if torch.is_tensor(value) else value
            for name, value in collate_causal([row], tokenizer).items()
        }
        count = task.num_items(batch)
        total, items = total + float(model(**batch).loss) * count, items + count
    return {"score": total / items, "interval": None}


@torch.inference_mode()
def generate_by_turns(setup: Setup, model: PreTrainedModel, prompts: Sequence[list[int]]) -> None:
    """The same prompts, one by one or in a batch, greedily in float32."""
    tokenizer = setup.tokenizer
    model.config.use_cache = True
    settings = setup.recipe.evaluation.model_copy(
        update={
            "num_beams": 1,
            "num_return_sequences": 1,
            "max_new_tokens": NEW_TOKENS,
            "per_device_eval_batch_size": len(prompts),
        }
    )
    ways: Mapping[bool, Callable[[], int]] = {
        True: lambda: one_by_one(model, tokenizer, prompts),
        False: lambda: sum(
            sequence.num_tokens
            for batch in generate(model, tokenizer, prompts, settings, stop_ids=stop_ids(tokenizer), seed=0)
            for sequence in batch
        ),
    }
    wait_for_turn()
    started = clock()
    tokens = ways[setup.job.is_tutorial]()
    tell(seconds=clock() - started, tokens=tokens)


def one_by_one(model: PreTrainedModel, tokenizer: Any, prompts: Sequence[list[int]]) -> int:
    """Generate as tutorials do; return the number of generated tokens."""
    total = 0
    for prompt in prompts:
        ids = torch.tensor([prompt], device=model.device)
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=list(stop_ids(tokenizer)),
            pad_token_id=int(tokenizer.pad_token_id),
        )
        total += made.shape[1] - ids.shape[1]
    return total

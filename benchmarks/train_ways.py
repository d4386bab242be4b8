"""The ways of fine-tuning that train.py compares: each in a process of its own, which takes turns."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from torch.nn import Module
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from rankfold.data.causal import collate_causal
from rankfold.data.chat import prompt_ids, stop_ids
from rankfold.data.examples import EntityExample
from rankfold.data.features import Features
from rankfold.data.packing import pack
from rankfold.data.sides import Splits
from rankfold.data.splits import read_splits
from rankfold.entities.prompt import messages, wording
from rankfold.evaluation.generation import generate
from rankfold.evaluation.work import UnitWork
from rankfold.modeling.adapters import add_adapter
from rankfold.modeling.load import load_model, load_tokenizer
from rankfold.modeling.sources import model_folder
from rankfold.nbest.units import Unit
from rankfold.recipe.load import load_recipe
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import RecordedExamples
from rankfold.tasks.registry import load_task
from rankfold.training.arguments import training_arguments
from rankfold.training.trainer import FineTuningTrainer

REPOSITORY = Path(__file__).resolve().parent.parent
RECIPES = {"qa": "quickstart_qa.yaml", "sft": "quickstart.yaml"}
TUTORIAL, RECOMPUTING, SAME, OURS = "tutorial", "tutorial, recomputing", "ours, same arithmetic", "ours"
WAYS = {"qa": (TUTORIAL, SAME, OURS), "sft": (TUTORIAL, RECOMPUTING, SAME, OURS)}
TUTORIAL_LENGTH = 384
QA_BATCH = 12
OUR_QA_ACCUMULATED = 4
"""As many examples a step, but the longest of three is shorter than the longest of twelve."""
SFT_BATCH, SFT_ACCUMULATED = 4, 4
OUR_SFT_ACCUMULATED = 2
"""Of the shipped recipe's batches of 8: as many examples a step."""
PACKED_LENGTH = 512
LEARNING_RATE = {"qa": 3e-4, "sft": 1e-3}
NEW_TOKENS = 32

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """What one process trains, as it gets it on its command line."""

    task: str
    way: str
    examples: int
    evaluated: int
    epochs: int
    seed: int
    qa_data: str | None

    @property
    def is_tutorial(self) -> bool:
        return self.way in (TUTORIAL, RECOMPUTING)

    def recipe(self) -> Recipe:
        """The shipped recipe, with what this way does otherwise."""
        tutorial_like = self.way != OURS
        overrides = [
            f"seed={self.seed}",
            f"train.num_train_epochs={self.epochs}",
            f"train.learning_rate={LEARNING_RATE[self.task]}",
            "train.lr_scheduler_type=linear",
            "train.warmup_steps=0",
            f"data.max_train_examples={self.examples}",
            f"data.max_test_examples={self.evaluated}",
            f"train.bf16={'false' if tutorial_like else 'true'}",
            # The order that the Trainer takes with this seed: all ways learn the same examples in a step.
            "train.train_sampling_strategy=random",
        ]
        if self.task == "qa":
            overrides += [
                f"train.per_device_train_batch_size={QA_BATCH // OUR_QA_ACCUMULATED}",
                f"train.gradient_accumulation_steps={OUR_QA_ACCUMULATED}",
                f"data.max_length={TUTORIAL_LENGTH}",
                "data.doc_stride=128",
                "model.config={}",
                "train.head_learning_rate=null",
            ]
            if self.qa_data:
                source = {"path": str(Path(self.qa_data).resolve()), "format": "squad"}
                overrides += ["data.train=null", "data.test=null", f"data.source={json.dumps(source)}"]
                overrides.append('data.split={"train": 0.8, "test": 0.2, "seed": 42}')
        else:
            if tutorial_like:
                overrides += [
                    "model.torch_dtype=float32",
                    "model.attn_implementation=null",
                    f"train.per_device_train_batch_size={SFT_BATCH}",
                ]
            accumulated = SFT_ACCUMULATED if tutorial_like else OUR_SFT_ACCUMULATED
            overrides.append(f"train.gradient_accumulation_steps={accumulated}")
        return load_recipe(REPOSITORY / "recipes" / RECIPES[self.task], overrides).recipe


class Turns(TrainerCallback):  # type: ignore[misc]
    """Waits for its turn before each step, and says after it what it took."""

    def __init__(self) -> None:
        self._started = 0.0

    def on_step_begin(self, *arguments: Any, **kwargs: Any) -> None:
        wait_for_turn()
        self._started = clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        tell(seconds=clock() - self._started, done=state.global_step / state.max_steps)


def clock() -> float:
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def wait_for_turn() -> None:
    if not sys.stdin.readline():
        raise SystemExit("whoever hands out turns is gone")


def tell(**values: Any) -> None:
    print(json.dumps(values), file=sys.__stdout__, flush=True)


@dataclass(frozen=True)
class Setup:
    """What one process trains and scores with."""

    job: Job
    recipe: Recipe
    task: Any
    tokenizer: Any
    splits: Splits


def train_and_score(job: Job) -> None:
    """One process: train by turns, evaluate, and where the task generates, generate by turns."""
    setup = set_up(job)
    recipe, task, tokenizer, splits = setup.recipe, setup.task, setup.tokenizer, setup.splits
    set_seed(recipe.seed)
    loaded = load_model(
        model_folder(recipe.model), recipe.model, task.auto_class, task.model_config(splits.labels)
    )
    model = loaded.model
    features = task.training_features(splits.train, tokenizer, recipe, splits.labels)
    if recipe.model.trained_adapter is not None:
        if job.way == RECOMPUTING:
            model.enable_input_require_grads()
        model = add_adapter(model, recipe.model.trained_adapter, task.peft_task_type)
    with tempfile.TemporaryDirectory() as folder:
        if job.is_tutorial:
            trainer = tutorial_trainer(setup, model, features, Path(folder))
        else:
            trainer = our_trainer(setup, model, features, Path(folder), loaded.new_parameters)
        trainer.add_callback(Turns())
        trainer.train()
    model.eval().float()
    tell(**(answer_f1(setup, model) if job.task == "qa" else answer_loss(setup, model)))
    if job.task == "sft":
        words, examples = wording(recipe.prompt), cast(Sequence[EntityExample], splits.test)
        texts = [prompt_ids(tokenizer, messages(one.text, splits.labels, words)) for one in examples]
        generate_by_turns(setup, loaded.model, texts)


def set_up(job: Job) -> Setup:
    recipe = job.recipe()
    task = load_task(recipe.task)
    splits = read_splits(recipe, task.example_of)
    return Setup(job, recipe, task, load_tokenizer(model_folder(recipe.model)), splits)


def tutorial_trainer(setup: Setup, model: Module, features: Features, folder: Path) -> Trainer:
    """transformers' Trainer as its examples use it."""
    rows, job, tokenizer = rows_of(features), setup.job, setup.tokenizer
    qa = job.task == "qa"
    if qa:
        rows = [padded(row, int(tokenizer.pad_token_id)) for row in rows]
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=QA_BATCH if qa else SFT_BATCH,
        gradient_accumulation_steps=1 if qa else SFT_ACCUMULATED,
        num_train_epochs=job.epochs,
        learning_rate=LEARNING_RATE[job.task],
        seed=setup.recipe.seed,
        activation_checkpointing=job.way == RECOMPUTING,
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
    )
    collate = default_data_collator if qa else DataCollatorForSeq2Seq(tokenizer)
    return Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)


def our_trainer(
    setup: Setup, model: Module, features: Features, folder: Path, new_parameters: frozenset[str]
) -> Trainer:
    """What the train stage builds, without checkpoints."""
    recipe, task = setup.recipe, setup.task
    if setup.job.task == "sft" and torch.cuda.is_available():
        # Attention on CPUs computes what stands between two examples of a row too.
        recipe, features = packed(recipe, features)
    return FineTuningTrainer(
        model=model,
        args=training_arguments(recipe, output_dir=folder, run_id="benchmark", task=task.facts),
        loss=task.loss,
        num_items=task.num_items,
        shifts_labels=task.auto_class == "AutoModelForCausalLM",
        loss_couples_rows=task.loss_couples_rows,
        train_dataset=rows_of(features),
        data_collator=lambda rows: task.collate(rows, setup.tokenizer),
        head_learning_rate=recipe.train.head_learning_rate,
        new_parameters=new_parameters,
        save_total_limit=1,
    )


def packed(recipe: Recipe, features: Features) -> tuple[Recipe, Features]:
    """Rows that hold several examples, and a recipe that takes about as many examples a step as before."""
    rows = pack(features, PACKED_LENGTH)
    rows_a_step = max(1, round(SFT_BATCH * SFT_ACCUMULATED * len(rows) / len(features)))
    accumulated = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": rows_a_step}
    train = recipe.train.model_copy(update=accumulated)
    return recipe.model_copy(update={"train": train}), rows


def rows_of(features: Features) -> list[dict[str, Any]]:
    columns = features.columns
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def padded(row: Row, pad_id: int) -> dict[str, Any]:
    """A window filled up to the tutorial's length, as `padding="max_length"` leaves it."""
    missing = TUTORIAL_LENGTH - len(row["input_ids"])
    fill = {"input_ids": pad_id, "token_type_ids": 0}
    filled = {
        name: [*value, *[fill[name]] * missing] if name in fill else value for name, value in row.items()
    }
    return {**filled, "attention_mask": [1] * len(row["input_ids"]) + [0] * missing}


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


if __name__ == "__main__":
    # Whatever else is printed must not come between the lines of the protocol.
    sys.stdout = sys.stderr
    train_and_score(Job(**json.loads(sys.argv[1])))

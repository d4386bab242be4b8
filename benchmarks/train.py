"""Fine-tuning as tutorials do it against ours: same model, same data, as many examples, the same evaluation.

    python benchmarks/train.py [--quick] [--tasks qa sft] [--examples 96] [--qa-data FILE.json]

Question answering: the tutorial pads every window to 384 tokens, takes batches of 12 and the default
collator. LoRA on a chat model: the tutorial takes one example a row, pads to the longest of a batch,
recomputes activations, and generates one text at a time. Both use transformers' Trainer as it is, in float32.
"Ours, same arithmetic" only drops what is not needed: padding, logits of prompts, recomputing. "Ours" then
trains as the shipped recipes do: in bfloat16 autocast, without dropout in MiniLM's attention.

Each way is a process of its own. They take turns, a step each, the one that has done the smallest part of
its training next, so that what else the machine does meets all alike. Without a GPU the clock is the
process's own and there is one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import IO, Any, cast

import torch
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
from rankfold.lifeline import Lifeline
from rankfold.modeling.adapters import add_adapter
from rankfold.modeling.load import load_model, load_tokenizer
from rankfold.modeling.sources import model_folder
from rankfold.recipe.load import load_recipe
from rankfold.recipe.schema import Recipe
from rankfold.tasks.registry import load_task
from rankfold.training.arguments import training_arguments
from rankfold.training.trainer import FineTuningTrainer
from rankfold.training.validation import Validation, ValidationSet

REPOSITORY = Path(__file__).resolve().parent.parent
RECIPES = {"qa": "quickstart_qa.yaml", "sft": "quickstart.yaml"}
WAYS = ("tutorial", "ours, same arithmetic", "ours")
TUTORIAL_LENGTH = 384
QA_BATCH = 12
SFT_BATCH, SFT_ACCUMULATED = 4, 4
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
    qa_data: str | None

    @property
    def is_tutorial(self) -> bool:
        return self.way == "tutorial"

    def recipe(self) -> Recipe:
        """The shipped recipe, with what this way does otherwise."""
        tutorial_like = self.way != "ours"
        overrides = [
            "train.num_train_epochs=1",
            f"train.learning_rate={LEARNING_RATE[self.task]}",
            "train.lr_scheduler_type=linear",
            "train.warmup_steps=0",
            "train.train_sampling_strategy=group_by_length",
            f"data.max_train_examples={self.examples}",
            f"data.max_test_examples={self.evaluated}",
            "evaluation.num_bootstrap_resamples=0",
            f"train.bf16={'false' if tutorial_like else 'true'}",
        ]
        if self.task == "qa":
            overrides += [
                f"train.per_device_train_batch_size={QA_BATCH}",
                "train.head_learning_rate=null",
                f"data.max_length={TUTORIAL_LENGTH}",
                "data.doc_stride=128",
            ]
            if tutorial_like:
                overrides.append("model.config={}")
            if self.qa_data:
                source = {"path": str(Path(self.qa_data).resolve()), "format": "squad"}
                overrides += ["data.train=null", "data.test=null", f"data.source={json.dumps(source)}"]
                overrides.append('data.split={"train": 0.8, "test": 0.2, "seed": 42}')
        else:
            overrides += [
                "model.torch_dtype=float32",
                f"train.per_device_train_batch_size={SFT_BATCH}",
                f"train.gradient_accumulation_steps={SFT_ACCUMULATED}",
            ]
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


def train_and_score(job: Job) -> None:
    """One process: train by turns, evaluate, and where the task generates, generate by turns."""
    recipe, tokenizer, splits, task = open_recipe(job)
    set_seed(recipe.seed)
    loaded = load_model(
        model_folder(recipe.model), recipe.model, task.auto_class, task.model_config(splits.labels)
    )
    model = loaded.model
    features = task.training_features(splits.train, tokenizer, recipe, splits.labels)
    if recipe.model.trained_adapter is not None:
        if job.is_tutorial:
            model.enable_input_require_grads()
        model = add_adapter(model, recipe.model.trained_adapter, task.peft_task_type)
    with tempfile.TemporaryDirectory() as folder:
        make = tutorial_trainer if job.is_tutorial else our_trainer
        trainer = make(job, recipe, task, model, features, tokenizer, Path(folder))
        trainer.add_callback(Turns())
        trainer.train()
    model.eval()
    tell(score=score(job, recipe, task, model, splits, tokenizer))
    if job.task == "sft":
        words, examples = wording(recipe.prompt), cast(Sequence[EntityExample], splits.test)
        texts = [prompt_ids(tokenizer, messages(one.text, splits.labels, words)) for one in examples]
        generate_by_turns(job, recipe, loaded.model, tokenizer, texts)


def open_recipe(job: Job) -> tuple[Recipe, Any, Splits, Any]:
    recipe = job.recipe()
    task = load_task(recipe.task)
    return recipe, load_tokenizer(model_folder(recipe.model)), read_splits(recipe, task.example_of), task


def tutorial_trainer(
    job: Job, recipe: Recipe, task: Any, model: Module, features: Features, tokenizer: Any, folder: Path
) -> Trainer:
    """transformers' Trainer as its examples use it."""
    rows = rows_of(features)
    qa = job.task == "qa"
    if qa:
        rows = [padded(row, int(tokenizer.pad_token_id)) for row in rows]
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=QA_BATCH if qa else SFT_BATCH,
        gradient_accumulation_steps=1 if qa else SFT_ACCUMULATED,
        num_train_epochs=1,
        learning_rate=LEARNING_RATE[job.task],
        seed=recipe.seed,
        activation_checkpointing=not qa,
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
    job: Job, recipe: Recipe, task: Any, model: Module, features: Features, tokenizer: Any, folder: Path
) -> Trainer:
    """What the train stage builds, without checkpoints."""
    if job.task == "sft":
        packed = pack(features, PACKED_LENGTH)
        # About as many examples a step as the tutorial takes.
        per_row = len(features) / len(packed)
        rows_a_step = max(1, round(SFT_BATCH * SFT_ACCUMULATED / per_row))
        train = recipe.train.model_copy(
            update={"per_device_train_batch_size": 1, "gradient_accumulation_steps": rows_a_step}
        )
        recipe, features = recipe.model_copy(update={"train": train}), packed
    return FineTuningTrainer(
        model=model,
        args=training_arguments(recipe, output_dir=folder, run_id="benchmark", task=task.facts),
        loss=task.loss,
        num_items=task.num_items,
        shifts_labels=task.auto_class == "AutoModelForCausalLM",
        train_dataset=rows_of(features),
        data_collator=lambda rows: task.collate(rows, tokenizer),
        head_learning_rate=None,
        new_parameters=frozenset(),
        save_total_limit=1,
    )


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


@torch.inference_mode()
def score(job: Job, recipe: Recipe, task: Any, model: Any, splits: Splits, tokenizer: Any) -> float:
    """F1 of answers, or for generated text the loss of held-out answers, in float32 for every way."""
    if job.task == "qa":
        from datasets import Dataset

        columns = task.evaluation_features(splits.test, tokenizer, recipe, splits.labels).columns
        data = ValidationSet(splits.test, Dataset.from_dict(columns))
        found = Validation(task, recipe, tokenizer, splits.labels, data).metrics(model, Lifeline())
        return float(found["f1"])
    rows = rows_of(task.training_features(splits.test, tokenizer, recipe, splits.labels))
    total = items = 0.0
    for row in rows:
        batch = {
            name: value.to(model.device) if torch.is_tensor(value) else value
            for name, value in collate_causal([row], tokenizer).items()
        }
        count = task.num_items(batch)
        total, items = total + float(model(**batch).loss) * count, items + count
    return total / items


@torch.inference_mode()
def generate_by_turns(
    job: Job, recipe: Recipe, model: PreTrainedModel, tokenizer: Any, prompts: Sequence[list[int]]
) -> None:
    """The same prompts, one by one or in a batch, greedily in float32."""
    model.config.use_cache = True
    settings = recipe.evaluation.model_copy(
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
    tokens = ways[job.is_tutorial]()
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


@dataclass(frozen=True)
class Result:
    """What a way took."""

    seconds: float
    score: float
    generated: int = 0
    generating: float = 0.0


class Process:
    """A way that trains in its own process."""

    def __init__(self, job: Job) -> None:
        command = [sys.executable, __file__, "--job", json.dumps(job.__dict__)]
        threads = {} if torch.cuda.is_available() else {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("BENCHMARK_STDERR") else None,
            text=True,
            env={**os.environ, **threads},
        )
        # Pipes are there, as asked for.
        self._in, self._out = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        self.done, self.result = 0.0, Result(0.0, 0.0)

    def turn(self) -> dict[str, Any]:
        """Let it make a step; return what it says of it."""
        self._say()
        return self._hear()

    def train_on(self) -> None:
        said = self.turn()
        self.done = said["done"]
        self.result = replace(self.result, seconds=self.result.seconds + said["seconds"])

    def finish(self, *, generates: bool) -> Result:
        self.result = replace(self.result, score=self._hear()["score"])
        if generates:
            said = self.turn()
            self.result = replace(self.result, generated=said["tokens"], generating=said["seconds"])
        if self._process.wait():
            raise SystemExit("a way of training failed; set BENCHMARK_STDERR=1 to see why")
        return self.result

    def _say(self) -> None:
        self._in.write("go\n")
        self._in.flush()

    def _hear(self) -> dict[str, Any]:
        line = self._out.readline()
        if not line:
            raise SystemExit("a way of training failed; set BENCHMARK_STDERR=1 to see why")
        said: dict[str, Any] = json.loads(line)
        return said


def compare(jobs: Sequence[Job]) -> list[Result]:
    """Train every job, a step of whichever has done least at a time."""
    processes = [Process(job) for job in jobs]
    while (behind := min(processes, key=lambda one: one.done)).done < 1:
        behind.train_on()
    return [process.finish(generates=jobs[0].task == "sft") for process in processes]


def print_tables(task: str, examples: int, results: Sequence[Result]) -> None:
    """Markdown: what each way took, and how many times faster it is."""
    first = results[0]
    what = "F1 (larger is better)" if task == "qa" else "held-out loss (smaller is better)"
    print(f"\n### {'Question answering, MiniLM' if task == 'qa' else 'LoRA, SmolLM2-135M'}\n")
    print(f"| way | examples | seconds | examples/s | ratio | {what} |\n|---|---:|---:|---:|---:|---:|")
    for way, found in zip(WAYS, results, strict=True):
        print(
            f"| {way} | {examples} | {found.seconds:.1f} | {examples / found.seconds:.3f} "
            f"| {first.seconds / found.seconds:.2f} | {found.score:.3f} |"
        )
    if task == "sft":
        print("\n| generating | tokens | seconds | tokens/s | ratio |\n|---|---:|---:|---:|---:|")
        speeds = [found.generated / found.generating for found in results]
        for way, found, speed in zip(("one by one", "a batch", "a batch"), results, speeds, strict=True):
            print(
                f"| {way} | {found.generated} | {found.generating:.1f} | {speed:.1f} "
                f"| {speed / speeds[0]:.2f} |"
            )


def print_machine() -> None:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "peft"))
    clock_name = "wall clock" if torch.cuda.is_available() else "process time, one thread"
    print(
        f"{platform.platform()}, {device}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{packages}"
    )
    print(f"{clock_name}; one epoch, AdamW, linear schedule, learning rates {LEARNING_RATE}")


def main() -> None:
    """Compare the ways task by task, or be one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few examples: only to see it run")
    parser.add_argument("--tasks", nargs="+", choices=tuple(RECIPES), default=list(RECIPES))
    parser.add_argument("--examples", type=int, default=96)
    parser.add_argument("--evaluated", type=int, default=40)
    parser.add_argument("--qa-data", help="a file in SQuAD's format, divided into training and test")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        # Whatever else is printed must not come between the lines of the protocol.
        sys.stdout = sys.stderr
        train_and_score(Job(**json.loads(chosen.job)))
        return
    examples, evaluated = (QA_BATCH, 4) if chosen.quick else (chosen.examples, chosen.evaluated)
    print_machine()
    for task in chosen.tasks:
        jobs = [Job(task, way, examples, evaluated, chosen.qa_data) for way in WAYS]
        print_tables(task, examples, compare(jobs))


if __name__ == "__main__":
    main()

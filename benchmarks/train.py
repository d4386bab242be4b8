"""Fine-tuning as tutorials do it against ours: same model, same data, as many examples, the same evaluation.

    python benchmarks/train.py [--quick] [--tasks qa sft] [--examples 96] [--epochs 1] [--seeds 42 1]
                               [--qa-data FILE.json]

Question answering: the tutorial pads every window to 384 tokens, takes batches of 12 and the default
collator. LoRA on a chat model: the tutorial takes one example a row, pads to the longest of a batch, and
generates one text at a time; once more recomputing activations, which TRL's SFTConfig does unless told
otherwise. Both use transformers' Trainer as it is, in float32.
All ways learn the same examples in each step. "Ours, same arithmetic" only drops what is not needed: padding,
by smaller batches of which a step accumulates several (also from the loss of question answering, in which
transformers counts it), and the logits of prompts. "Ours" then trains in bfloat16 autocast, and the language
model as its shipped recipe does: with bfloat16 weights, attention as plain products, and batches of 8.

Each way is a process of its own. They take turns, a step each, the one that has done the smallest part of
its training next, so that what else the machine does meets all alike. Without a GPU the clock is the
process's own and there is one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import IO, Any, cast

import torch
import train_ways
from train_jobs import LEARNING_RATE, QA_BATCH, RECIPES, RECOMPUTING, TUTORIAL, WAYS, Job


@dataclass(frozen=True)
class Result:
    """What a way took."""

    seconds: float
    score: float
    interval: Sequence[float] | None = None
    generated: int = 0
    generating: float = 0.0


class Process:
    """A way that trains in its own process."""

    def __init__(self, job: Job) -> None:
        command = [sys.executable, train_ways.__file__, json.dumps(asdict(job))]
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
        said = self._hear()
        self.result = replace(self.result, score=said["score"], interval=said["interval"])
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


def print_tables(task: str, examples: int, ways: Sequence[str], runs: Sequence[Sequence[Result]]) -> None:
    """Markdown: what each way took in all runs, and how many times faster it is than the first."""
    what = "F1" if task == "qa" else "held-out loss (smaller is better)"
    print(f"\n### {'Question answering, MiniLM' if task == 'qa' else 'LoRA, SmolLM2-135M'}\n")
    print(f"| way | examples | seconds | examples/s | ratio | {what} | of each seed |")
    print("|---|---:|---:|---:|---:|---:|---|")
    by_way = list(zip(*runs, strict=True))
    taken = [sum(one.seconds for one in found) for found in by_way]
    for way, found, seconds in zip(ways, by_way, taken, strict=True):
        print(
            f"| {way} | {examples} | {seconds:.1f} | {examples / seconds:.3f} | {taken[0] / seconds:.2f} "
            f"| {statistics.mean(one.score for one in found):.3f} | {', '.join(map(score_of, found))} |"
        )
    if task == "sft":
        print_generation(ways, by_way)


def print_generation(ways: Sequence[str], by_way: Sequence[Sequence[Result]]) -> None:
    """Markdown: what each way took to generate, and how many times faster it is than the first."""
    print("\n| generating | tokens | seconds | tokens/s | ratio |\n|---|---:|---:|---:|---:|")
    tokens = [sum(one.generated for one in found) for found in by_way]
    taken = [sum(one.generating for one in found) for found in by_way]
    speeds = [count / seconds for count, seconds in zip(tokens, taken, strict=True)]
    for way, count, seconds, speed in zip(ways, tokens, taken, speeds, strict=True):
        how = "one by one" if way in (TUTORIAL, RECOMPUTING) else "a batch"
        print(f"| {way}: {how} | {count} | {seconds:.1f} | {speed:.1f} | {speed / speeds[0]:.2f} |")


def score_of(found: Result) -> str:
    """The score, and where it has one its 95 % interval."""
    interval = "" if found.interval is None else " ({:.1f}–{:.1f})".format(*found.interval)
    return f"{found.score:.3f}{interval}"


def print_machine() -> None:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "peft"))
    clock_name = "wall clock" if torch.cuda.is_available() else "process time, one thread"
    print(
        f"{platform.platform()}, {device}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{packages}"
    )
    print(f"{clock_name}; AdamW, linear schedule, learning rates {LEARNING_RATE}")


def main() -> None:
    """Compare the ways task by task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few examples: only to see it run")
    parser.add_argument("--tasks", nargs="+", choices=tuple(RECIPES), default=list(RECIPES))
    parser.add_argument("--examples", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="train once with each")
    parser.add_argument("--evaluated", type=int, default=40, help="test examples")
    parser.add_argument("--ways", nargs="+", help="only these, the first of which the ratios are to")
    parser.add_argument("--qa-data", help="a file in SQuAD's format, divided into training and test")
    chosen = parser.parse_args()
    examples, evaluated = (QA_BATCH, 4) if chosen.quick else (chosen.examples, chosen.evaluated)
    print_machine()
    for task in chosen.tasks:
        ways = [way for way in WAYS[task] if chosen.ways is None or way in chosen.ways]
        runs = [
            compare(
                [Job(task, way, examples, evaluated, chosen.epochs, seed, chosen.qa_data) for way in ways]
            )
            for seed in chosen.seeds
        ]
        print_tables(task, examples * chosen.epochs * len(runs), ways, runs)


if __name__ == "__main__":
    main()

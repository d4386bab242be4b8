"""From logits to answers: this engine against the common Python post-processing in the same run.

    python benchmarks/nbest.py [--rounds 5] [--quick]

All are given SQuAD's development set in size, and their answers are compared before anything is timed.
They take turns, so that whatever else the machine does hits all alike. Exit code 1 if a ratio of medians
to the plain script with lists is below its target, except with --quick, which is too small for that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbest_merge
import numpy as np
import plain_nbest
from synthetic_qa import DataSet, in_datasets, make_data_set

from rankfold.nbest.candidates import rank_candidates
from rankfold.nbest.extract import extract_records
from rankfold.nbest.finalise import Answers, finalise
from rankfold.nbest.lines import nbest_lines, prediction_lines
from rankfold.nbest.merge import MergeState
from rankfold.nbest.predictions import predictions
from rankfold.nbest.records import WINDOW_RECORD, Records

N_BEST_SIZE, MAX_ANSWER_LENGTH = 20, 30
BATCH_SIZE = 64
"""Windows whose logits the engine is given at once, as a model computes them."""

Method = Callable[[DataSet, Path], None]


@dataclass(frozen=True)
class Comparison:
    """What all sides write, and how many times as fast as `plain` with lists the engine is to be."""

    name: str
    plain: Method
    engine: Method
    target: float


def main() -> int:
    """Compare, measure, print two tables, return 1 if the engine is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a small data set, once, no targets")
    arguments = parser.parse_args()
    size, rounds = ((300, 310), 1) if arguments.quick else ((10_570, 10_784), arguments.rounds)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{size[0]:,} examples, {size[1]:,} windows of up to 384 tokens, {rounds} rounds, one thread")
    print(f"{WINDOW_RECORD.itemsize} bytes a window; the logits of 384 tokens are {2 * 4 * 384}\n")
    print("plain: the common post-processing, of plain lists and of a datasets.Dataset, read row by row\n")
    print(
        f"{'logits':<8} {'written':<22} {'plain, lists':>12} {'plain, datasets':>15} {'engine':>9} "
        f"{'lists / engine':>14} {'target':>6} {'datasets / engine':>17} {'memory, lists → engine':>22}"
    )
    passed = [
        compare(make_data_set(*size, bfloat16=bfloat16), "bfloat16" if bfloat16 else "float32", rounds)
        for bfloat16 in (False, True)
    ]
    print()
    passed.append(nbest_merge.print_table(nbest_merge.QUICK if arguments.quick else nbest_merge.FULL))
    return 0 if arguments.quick or all(passed) else 1


def compare(data: DataSet, name: str, rounds: int) -> bool:
    """Print a line for each comparison; say whether all targets were met."""
    check_equal(data)
    in_arrow, passed = in_datasets(data), True
    for comparison in COMPARISONS:
        sides = ((comparison.plain, data), (comparison.plain, in_arrow), (comparison.engine, data))
        with tempfile.TemporaryDirectory() as folder:
            taken = [[seconds(method, held, Path(folder)) for method, held in sides] for _ in range(rounds)]
            memory = [extra_megabytes(method, held, Path(folder)) for method, held in sides]
        lists, datasets, engine = (statistics.median(column) for column in zip(*taken, strict=True))
        print(
            f"{name:<8} {comparison.name:<22} {lists:>10.3f} s {datasets:>13.3f} s {engine:>7.4f} s "
            f"{lists / engine:>14.1f} {comparison.target:>6.0f} {datasets / engine:>17.1f} "
            f"{memory[0]:>10.0f} MB → {memory[2]:>4.0f} MB",
            flush=True,
        )
        passed &= lists / engine >= comparison.target
    return passed


def check_equal(data: DataSet) -> None:
    """Raise ValueError unless both sides find the same, to the bit; probabilities to 12 digits."""
    found = [json.loads(line) for line in nbest_lines(answers(data), data.examples).split(b"\n")[:-1]]
    texts = predictions(answers(data), data.examples).texts
    for row, text, expected in zip(found, texts, plain_answers(data), strict=True):
        ours, theirs = ([one.pop("probability") for one in side["nbest"]] for side in (row, expected))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        if (text, row["nbest"]) != (expected["text"], expected["nbest"]):
            raise ValueError(f"{row['id']}: {row['nbest']} is not {expected['nbest']}")


def plain_answers(data: DataSet) -> list[plain_nbest.Answer]:
    return plain_nbest.postprocess(
        data.contexts,
        data.windows_of_example,
        data.start_logits,
        data.end_logits,
        data.offset_mappings,
        data.cls_indexes,
        n_best_size=N_BEST_SIZE,
        max_answer_length=MAX_ANSWER_LENGTH,
    )


def plain_predictions(data: DataSet, folder: Path) -> None:
    pairs = zip(data.examples, plain_answers(data), strict=True)
    _write_json(folder / "predictions.json", {example.id: answer["text"] for example, answer in pairs})


def plain_nbest_too(data: DataSet, folder: Path) -> None:
    pairs = list(zip(data.examples, plain_answers(data), strict=True))
    _write_json(folder / "predictions.json", {example.id: answer["text"] for example, answer in pairs})
    _write_json(folder / "nbest.json", {example.id: answer["nbest"] for example, answer in pairs})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def answers(data: DataSet) -> Answers:
    ranking = rank_candidates(
        MergeState.of(records(data)),
        data.windows,
        examples=range(len(data.examples)),
        n_best_size=N_BEST_SIZE,
        max_answer_length=MAX_ANSWER_LENGTH,
    )
    return finalise(ranking, version_2_with_negative=False)


def records(data: DataSet) -> list[Records]:
    """The records of every batch."""
    windows, padding = data.windows, np.zeros(len(data.windows), np.int64)
    lengths = windows.lengths
    batches = [slice(first, first + BATCH_SIZE) for first in range(0, len(windows), BATCH_SIZE)]
    return [
        extract_records(
            data.start_logits[batch],
            data.end_logits[batch],
            lengths=lengths[batch],
            first_token=padding[batch],
            cls_index=windows.cls_index[batch],
            window_ids=windows.window_id[batch],
            example_indices=windows.example_index[batch],
            n_best_size=N_BEST_SIZE,
            shard="benchmark",
        )
        for batch in batches
    ]


def engine_predictions(data: DataSet, folder: Path) -> None:
    _write_predictions(answers(data), data, folder)


def engine_nbest_too(data: DataSet, folder: Path) -> None:
    found = answers(data)
    _write_predictions(found, data, folder)
    (folder / "nbest.jsonl").write_bytes(nbest_lines(found, data.examples))


def _write_predictions(found: Answers, data: DataSet, folder: Path) -> None:
    texts = predictions(found, data.examples).texts
    (folder / "predictions.json").write_bytes(prediction_lines(texts, data.examples))


COMPARISONS = (
    Comparison("predictions", plain_predictions, engine_predictions, 60),
    Comparison("predictions and n-best", plain_nbest_too, engine_nbest_too, 15),
)


def seconds(method: Method, data: DataSet, folder: Path) -> float:
    """Wall-clock seconds of one run."""
    started = time.perf_counter()
    method(data, folder)
    return time.perf_counter() - started


def extra_megabytes(method: Method, data: DataSet, folder: Path) -> float:
    """How much a run's peak is above the memory of the data, in a process of its own."""
    context = multiprocessing.get_context("fork")  # begins with the data, and with its size as its peak
    queue = context.SimpleQueue()

    def run() -> None:
        before = nbest_merge.peak_megabytes()
        method(data, folder)
        queue.put(nbest_merge.peak_megabytes() - before)

    process = context.Process(target=run)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"measuring the memory of {method.__name__} ended with {process.exitcode}")
    megabytes: float = queue.get()
    return megabytes


if __name__ == "__main__":
    sys.exit(main())

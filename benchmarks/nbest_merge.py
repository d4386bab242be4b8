"""Merging the records of many shards from disk: time and peak memory, by windows and shards.

A process of its own merges each folder: every unit is read once and its SHA-256 checked, then ranges of
examples are ranked, answered and written. Features and contexts, which are made up, are not in the time,
but in the memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankfold.data.examples import QuestionExample
from rankfold.nbest.candidates import rank_candidates
from rankfold.nbest.coverage import UnitReader
from rankfold.nbest.finalise import finalise
from rankfold.nbest.lines import nbest_lines, prediction_lines
from rankfold.nbest.merge import MergeState
from rankfold.nbest.predictions import predictions
from rankfold.nbest.ranges import example_ranges
from rankfold.nbest.records import (
    MAX_N_BEST_SIZE,
    WINDOW_RECORD,
    Records,
    pack_flags,
    records_from_bytes,
    records_to_bytes,
)
from rankfold.nbest.units import Fingerprint, Unit, plan_units, units_of_shard, write_unit
from rankfold.nbest.windows import WindowTable

LENGTH = 384
UNIT_SIZE = 4096
MAX_ROWS = 1 << 14
MOST_WITH_NBEST = 100_000
"""Above this, n-best lines, of which there are as many as windows, are left out to save time."""

CONTEXT = "the old city in the hills " * 100
FINGERPRINT = Fingerprint.of({"model": "synthetic"})
WINDOWS_AN_EXAMPLE = 2


@dataclass(frozen=True)
class Plan:
    """Which merges are measured; the target is for the largest in 16 shards, with answers only."""

    num_windows: tuple[int, ...]
    num_shards: tuple[int, ...]
    target_seconds: float
    target_megabytes: float


FULL = Plan((10_000, 100_000, 1_000_000), (1, 4, 16, 64), 3, 1000)
QUICK = Plan((2_000,), (1, 4), 60, 1000)


def print_table(plan: Plan) -> bool:
    """Print a line for each merge; say whether the target was met."""
    print(
        f"{'windows':>10} {'shards':>7} {'units':>6} {'read, rank':>11} {'with n-best lines':>17} {'peak':>7}"
    )
    passed = True
    for num_windows in plan.num_windows:
        with tempfile.TemporaryDirectory() as root:
            units = write_units(Path(root, "units"), num_windows)
            for num_shards in plan.num_shards:
                folder = Path(root, f"shards-{num_shards}")
                divide(units, Path(root, "units"), folder, num_shards)
                seconds, megabytes = merged(folder, num_windows, writes_nbest=False)
                with_nbest = "–"
                if num_windows <= MOST_WITH_NBEST:
                    with_nbest = f"{merged(folder, num_windows, writes_nbest=True)[0]:.2f} s"
                print(
                    f"{num_windows:>10,} {num_shards:>7} {len(units):>6} {seconds:>9.2f} s "
                    f"{with_nbest:>17} {megabytes:>4.0f} MB",
                    flush=True,
                )
                if num_shards == 16:
                    passed = seconds < plan.target_seconds and megabytes < plan.target_megabytes
    return passed


def write_units(folder: Path, num_windows: int) -> list[Unit]:
    """Write and return the units of an evaluation."""
    units = plan_units(num_windows, UNIT_SIZE)
    for unit in units:
        payload = records_to_bytes(synthetic_records(unit))
        write_unit(folder, unit, payload, FINGERPRINT, unit.stop - unit.start)
    return units


def divide(units: Sequence[Unit], source: Path, folder: Path, num_shards: int) -> None:
    """Link every unit's files into a folder a shard."""
    for shard in range(num_shards):
        (folder / str(shard)).mkdir(parents=True)
        for unit in units_of_shard(units, shard, num_shards):
            for file in source.glob(f"unit-{unit.index:05d}.*"):
                os.link(file, folder / str(shard) / file.name)


def synthetic_records(unit: Unit) -> Records:
    """Twenty starts and ends of each window at random places."""
    random = np.random.default_rng(unit.index)
    size = unit.stop - unit.start
    records: Records = np.zeros(size, WINDOW_RECORD)
    records["window_id"] = np.arange(unit.start, unit.stop)
    records["example_index"] = records["window_id"] // WINDOWS_AN_EXAMPLE
    twenty = np.full(size, MAX_N_BEST_SIZE)
    records["flags"] = pack_flags(twenty, twenty)
    for side in ("start", "end"):
        records[f"{side}_positions"] = (
            3 * random.random((size, 100)).argsort(axis=1)[:, :MAX_N_BEST_SIZE] + 20
        )
        logits = random.normal(0, 3, (size, MAX_N_BEST_SIZE)).astype(np.float32)
        records[f"{side}_logits"] = -np.sort(-logits, axis=1)
    return records


def merged(folder: Path, num_windows: int, *, writes_nbest: bool) -> tuple[float, float]:
    """Seconds and peak megabytes of a merge in a process of its own, its start not counted."""
    command = [sys.executable, __file__, str(folder), str(num_windows), str(int(writes_nbest))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, megabytes = json.loads(done.stdout)
    return seconds, megabytes


def merge_folder(folder: Path, num_windows: int, *, writes_nbest: bool) -> float:
    """Do what the merge stage does, with features made up range by range; return its seconds."""
    units = plan_units(num_windows, UNIT_SIZE)
    started = time.perf_counter()
    reader = UnitReader(sorted(folder.glob("*/*.json")), units, FINGERPRINT)
    seconds = time.perf_counter() - started
    example_of_row = np.arange(num_windows) // WINDOWS_AN_EXAMPLE
    all_examples = range(int(example_of_row[-1]) + 1)
    with Path(folder, "predictions").open("wb") as texts, Path(folder, "nbest").open("wb") as nbest:
        for part in example_ranges(example_of_row, all_examples, max_rows=MAX_ROWS):
            examples = [QuestionExample(str(place), "?", CONTEXT, ()) for place in part.examples]
            table = window_table(part.rows)
            started = time.perf_counter()
            payloads = reader.payloads(part.units(units))
            lines = range_lines(payloads, table, part.examples, examples, writes_nbest=writes_nbest)
            texts.write(lines[0])
            nbest.write(lines[1])
            seconds += time.perf_counter() - started
    return seconds


def load_kernels() -> None:
    """Merge one window: that loads what has been compiled, which takes as long for any number of windows."""
    payload = records_to_bytes(synthetic_records(Unit(0, 0, 1)))
    examples = [QuestionExample("0", "?", CONTEXT, ())]
    range_lines([payload], window_table(range(1)), range(1), examples, writes_nbest=True)


def range_lines(
    payloads: Iterable[bytes],
    windows: WindowTable,
    places: range,
    examples: Sequence[QuestionExample],
    *,
    writes_nbest: bool,
) -> tuple[bytes, bytes]:
    """The lines of both files for a range of examples."""
    state = MergeState.of([records_from_bytes(payload, where="") for payload in payloads])
    ranking = rank_candidates(
        state.of_examples(places),
        windows,
        examples=places,
        n_best_size=20,
        max_answer_length=30,
    )
    answers = finalise(ranking, version_2_with_negative=True)
    texts = prediction_lines(predictions(answers, examples).texts, examples)
    return texts, nbest_lines(answers, examples) if writes_nbest else b""


def window_table(rows: range) -> WindowTable:
    """Windows of 20 tokens of a question and 364 of context."""
    offsets = np.full((LENGTH, 2), -1, np.int32)
    offsets[20:, 0] = np.arange(LENGTH - 20) * 4
    offsets[20:, 1] = offsets[20:, 0] + 3
    window_id = np.arange(rows.start, rows.stop)
    return WindowTable(
        window_id,
        window_id // WINDOWS_AN_EXAMPLE,
        np.tile(offsets, (len(rows), 1)),
        np.arange(len(rows) + 1) * LENGTH,
        np.zeros(len(rows), np.int64),
    )


def main() -> None:
    """Merge a folder; print seconds and peak megabytes as JSON."""
    folder, num_windows, writes_nbest = Path(sys.argv[1]), int(sys.argv[2]), bool(int(sys.argv[3]))
    load_kernels()
    seconds = merge_folder(folder, num_windows, writes_nbest=writes_nbest)
    print(json.dumps([seconds, peak_megabytes()]))


def peak_megabytes() -> float:
    """The most memory that this process had; getrusage's is that of its parent where that had more."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) / 1024


if __name__ == "__main__":
    main()

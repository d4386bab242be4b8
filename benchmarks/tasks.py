"""What every task learns, with every weight trained and with LoRA: the learning tests as one table.

    python benchmarks/tasks.py [-k text_classification]

Runs tests/integration/learning, which train small real models on real data (and tiny ones of their own where
no real one is at hand), and prints each run's first headline metric before and after training and by chance.
Arguments go to pytest.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rankfold.task_facts import task_facts

REPOSITORY = Path(__file__).resolve().parent.parent
TESTS = "tests/integration/learning"
TABLE_FOLDER = "RANKFOLD_TASK_TABLE"


def main(arguments: Sequence[str]) -> int:
    """Run the tests and print the table; the exit code is pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", TESTS, *arguments],
            cwd=REPOSITORY,
            env=os.environ | {TABLE_FOLDER: folder, "OMP_NUM_THREADS": "1"},
            stdout=sys.stderr,
        )
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(folder).iterdir())]
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(table(runs))
    return done.returncode


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The runs as a Markdown table; an arrow says where less is better."""
    lines = [
        "| task | method | model | data | metric | before | after | chance | seconds |",
        "|---|---|---|---|---|---:|---:|---:|---:|",
    ]
    for run in runs:
        metric = task_facts(run["task"]).metric(run["metric"])
        title = metric.title + (" ↓" if metric.better == "lower" else "")
        scores = [
            "n/a" if run[name] is None else f"{run[name]:,.{metric.decimals}f}"
            for name in ("before", "after", "chance")
        ]
        lines.append(
            f"| {run['task']} | {run['method']} | {run['model']} | {run['data']} | {title} | "
            f"{' | '.join(scores)} | {run['seconds']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

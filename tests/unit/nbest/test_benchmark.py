"""The benchmark's data, where both sides must agree, and the benchmark itself, which must run."""

import os
import subprocess
import sys
from pathlib import Path

import nbest
import pytest
from synthetic_qa import in_datasets, make_data_set


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_engine_and_the_plain_script_find_the_same(bfloat16: bool) -> None:
    nbest.check_equal(make_data_set(60, 75, bfloat16=bfloat16))


def test_the_plain_script_finds_the_same_whatever_holds_the_data() -> None:
    data = make_data_set(30, 40, bfloat16=False)
    assert nbest.plain_answers(in_datasets(data)) == nbest.plain_answers(data)


@pytest.mark.slow
def test_the_benchmark_prints_its_tables(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, repository / "benchmarks" / "nbest.py", "--quick"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "264 bytes a window" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[-2:]] == ["2,000", "2,000"]

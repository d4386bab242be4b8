import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXTRACT_ONE_WINDOW = """
import sys
import numpy as np
import rankfold
from rankfold.nbest.extract import extract_records

zero, logits = np.zeros(1, np.int64), np.array([[1, 5, 5]], np.float32)
records = extract_records(
    logits, logits, lengths=zero + 3, first_token=zero, cls_index=zero, window_ids=zero, example_indices=zero,
    n_best_size=2, shard="",
)
print(rankfold.__path__[0], records["start_positions"][0, :2].tolist())
"""


@pytest.fixture
def installation(repository: Path, tmp_path: Path) -> Path:
    """A copy of the package that nothing can be cached in, not even by root."""
    copy = tmp_path / "rankfold"
    shutil.copytree(repository / "src" / "rankfold", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "nbest" / "__pycache__").touch()
    return copy


def extract_one_window(installation: Path, user_cache: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environment |= {"PYTHONPATH": str(installation.parent)}
    environment |= {"HOME": str(user_cache), "XDG_CACHE_HOME": str(user_cache)}
    command = [sys.executable, "-c", EXTRACT_ONE_WINDOW]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_a_read_only_installation_keeps_machine_code_in_the_users_cache(
    installation: Path, tmp_path: Path
) -> None:
    user_cache = tmp_path / "cache"
    assert extract_one_window(installation, user_cache) == f"{installation} [2, 1]\n"
    assert list(user_cache.rglob("order.keep_best*.nbc"))


def test_a_job_that_can_keep_its_machine_code_nowhere_runs_all_the_same(
    installation: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "a file where a folder should be"
    nowhere.touch()
    assert extract_one_window(installation, nowhere) == f"{installation} [2, 1]\n"

"""The bytes that are written do not depend on the processor's vector units nor on Python's version."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

NEEDED = "import numba, numpy, pyarrow"


def digests(repository: Path, python: str = sys.executable, **environment: str) -> str:
    """What `print_digests.py` prints."""
    script = str(Path(__file__).with_name("print_digests.py"))
    environment = {**os.environ, "PYTHONPATH": str(repository / "src"), **environment}
    # Nothing but errors: numpy warns of features that it does not know.
    run = subprocess.run(
        [python, "-W", "ignore", script], env=environment, check=True, capture_output=True, text=True
    )
    return run.stdout


@pytest.fixture(scope="module")
def digests_here(repository: Path) -> str:
    found = digests(repository)
    assert [line.split()[0] for line in found.splitlines()] == ["records", *["nbest", "predictions"] * 2]
    return found


def test_numpy_without_its_vector_units_gives_the_same_bytes(repository: Path, digests_here: str) -> None:
    # What numpy was built to use of this processor beyond what it demands.
    optional = " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))
    assert digests(repository, NPY_DISABLE_CPU_FEATURES=optional) == digests_here


def test_kernels_for_any_processor_of_the_kind_give_the_same_bytes(
    repository: Path, digests_here: str
) -> None:
    assert digests(repository, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == digests_here


def test_another_python_gives_the_same_bytes(repository: Path, digests_here: str) -> None:
    other = os.environ.get("RANKFOLD_OTHER_PYTHON")
    if other is None:
        pytest.skip("RANKFOLD_OTHER_PYTHON does not name another Python")
    if subprocess.run([other, "-c", NEEDED], capture_output=True).returncode:
        pytest.skip(f"{other} cannot run: {NEEDED}")
    assert digests(repository, other) == digests_here

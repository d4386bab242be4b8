"""What can be read of Liger without importing it."""

import sys
from pathlib import Path

import liger_stand_in
import pytest

from rankfold.modeling import liger


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where packages are installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_models_that_it_knows_are_read_and_nothing_is_imported(site: Path) -> None:
    liger_stand_in.write(site)
    assert liger.is_installed()
    assert liger.known_model_types() == frozenset({"llama", "qwen2"})
    assert "liger_kernel" not in sys.modules


@pytest.mark.parametrize(
    "text",
    ["", "{", "MODEL_TYPE_TO_APPLY_LIGER_FN = table()", "MODEL_TYPE_TO_APPLY_LIGER_FN = {'a': 1, **more}"],
)
def test_what_cannot_be_read_is_not_guessed(site: Path, text: str) -> None:
    liger_stand_in.write(site, monkey_patch=text)
    assert liger.is_installed()
    assert liger.known_model_types() is None


def test_a_folder_of_its_name_is_no_package(site: Path) -> None:
    (site / "liger_kernel").mkdir()
    assert not liger.is_installed()
    assert liger.known_model_types() is None

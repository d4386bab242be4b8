"""Fixtures that tests of several modules share."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from rankfold.run_folder import RunFolder


@pytest.fixture(scope="session")
def finish_run(
    tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path, causal_folder: Path
) -> Callable[[str], RunFolder]:
    """Make a whole run of a task with one shard, once."""

    @cache
    def finish(task: str) -> RunFolder:
        import tiny_runs

        model = causal_folder if task == "generative_ner" else encoder_folder
        return tiny_runs.finish(tiny_runs.new_run(tmp_path_factory.mktemp(task), task, model))

    return finish


@pytest.fixture(scope="module", params=["extractive_qa", "generative_ner", "token_classification"])
def finished(request: pytest.FixtureRequest, finish_run: Callable[[str], RunFolder]) -> RunFolder:
    """A whole run with one shard; nobody may change it."""
    return finish_run(request.param)


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of a whole run that a test may break."""
    return RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run")))

"""Fixtures that tests of several modules share."""

import shutil
from pathlib import Path

import pytest

from rankfold.run_folder import RunFolder


@pytest.fixture(scope="session", params=["extractive_qa", "generative_ner", "token_classification"])
def finished(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    encoder_folder: Path,
    causal_folder: Path,
) -> RunFolder:
    """A whole run with one shard; nobody may change it."""
    import tiny_runs

    task: str = request.param
    model = causal_folder if task == "generative_ner" else encoder_folder
    return tiny_runs.finish(tiny_runs.new_run(tmp_path_factory.mktemp(task), task, model))


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of a whole run that a test may break."""
    return RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run")))

"""A whole run, and a failed one, among secrets: none of them is in any byte that they leave."""

import stat
from pathlib import Path

import pytest
from commands import launch, submit
from secrets_of_nobody import SECRETS, holding

TINY = (
    "model.config=null",
    "data.max_train_examples=4",
    "data.max_test_examples=4",
    "train.max_steps=1",
    "evaluation.shards=1",
    "evaluation.baseline=false",
)


def with_a_secret(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    return [file for file in files if holding(file.read_bytes())]


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
def test_a_whole_run_leaves_no_secret_behind(repository: Path, encoder_folder: Path, tmp_path: Path) -> None:
    recipe = repository / "recipes/quickstart_qa.yaml"
    run = submit(recipe, f"model.name_or_path={encoder_folder}", *TINY, runs=tmp_path / "runs")
    assert (run / "report.html").is_file()
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert list(run.rglob("*.pkl"))
    assert with_a_secret(tmp_path / "runs") == []


@pytest.mark.slow
def test_a_failed_run_leaves_no_secret_behind(repository: Path, encoder_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "damaged.json"
    data.write_text('{"data": [')
    overrides = [f"model.name_or_path={encoder_folder}", f"data.train.path={data}", *TINY]
    recipe = str(repository / "recipes/quickstart_qa.yaml")
    done = launch(
        *("submit", recipe, *overrides, "--cluster", "local", "--follow"), runs=tmp_path / "runs", exit_code=1
    )
    assert "damaged.json" in done.stdout + done.stderr
    assert holding((done.stdout + done.stderr).encode()) == []
    assert with_a_secret(tmp_path / "runs") == []

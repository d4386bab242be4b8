"""A task that another package brings: what docs/tasks.md shows is all that it takes."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import launch, read, submit

MAX_LINES = 60
"""What a task of one's own may take, with its entry point."""


def block(documentation: str, language: str) -> str:
    """The one block of code in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", documentation, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.fixture
def documentation(repository: Path) -> str:
    return (repository / "docs" / "tasks.md").read_text(encoding="utf-8")


def install(folder: Path, project: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a package's entry points where installers leave them, in a folder that Python searches."""
    found = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (found / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")


def install_task(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with a task `text_rating` in one module."""
    points = {"rankfold.tasks": {"text_rating": "text_rating:TextRating"}}
    install(folder, {"name": "text-rating", "version": "1.0", "entry-points": points}, monkeypatch)
    (folder / "text_rating.py").write_text(code)


def recipe_of(folder: Path, **values: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def rated_texts(path: Path, number: int) -> None:
    """Texts whose rating is what their one word says."""
    words = {"sea": -1.0, "town": 1.0}
    rows = [
        {"text": " ".join([word] * 4), "rating": rating}
        for _ in range(number // 2)
        for word, rating in words.items()
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_a_task_and_its_entry_point_fit_on_a_page(documentation: str) -> None:
    code, project = block(documentation, "python"), block(documentation, "toml")
    entry_point = project[project.index("[project.entry-points") :]
    assert len(code.splitlines()) + len(entry_point.splitlines()) <= MAX_LINES
    assert max(map(len, code.splitlines())) <= 110


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_documented_task_runs_from_recipe_to_report(
    documentation: str, encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, folder = tmp_path / "package", tmp_path / "work"
    folder.mkdir()
    install(package, tomllib.loads(block(documentation, "toml"))["project"], monkeypatch)
    (package / "text_rating.py").write_text(block(documentation, "python"))
    recipe = folder / "recipe.yaml"
    recipe.write_text(block(documentation, "yaml"))
    rated_texts(folder / "train.jsonl", 32)
    rated_texts(folder / "test.jsonl", 10)
    overrides = (
        f"model.name_or_path={encoder_folder}",
        "train.learning_rate=0.003",
        "train.max_steps=40",
        "evaluation.unit_size=3",
        "evaluation.per_device_eval_batch_size=2",
        "evaluation.baseline=false",
    )
    plan = json.loads(launch("plan", str(recipe), *overrides, "--json", runs=tmp_path).stdout)["plan"]
    assert plan["task"] == "text_rating"
    run = submit(recipe, *overrides, runs=tmp_path / "runs")
    metrics = read(run / "results/fine_tuned/metrics.json")
    assert metrics["num_examples"] == 10
    # Whoever says 0 to everything is off by 1.
    assert metrics["mean_absolute_error"] < 0.5
    predictions = read(run / "results/fine_tuned/predictions.json")
    assert [float(value) > 0 for value in predictions.values()] == [False, True] * 5
    assert len(list((run / "shards/fine_tuned").glob("*.json"))) == 4
    assert "Text rating" in (run / "report.html").read_text(encoding="utf-8")


def test_a_task_that_nobody_brings_is_refused_with_one_that_is_like_it(
    documentation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_task(tmp_path / "package", block(documentation, "python"), monkeypatch)
    values = yaml.safe_load(block(documentation, "yaml"))
    said = launch(
        "plan", str(recipe_of(tmp_path, **{**values, "task": "text_ratting"})), runs=tmp_path, exit_code=2
    ).stderr
    assert 'embedding or text_rating; found "text_ratting"; did you mean text_rating?' in said


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import there_is_no_such_module\n",
            "ModuleNotFoundError: No module named 'there_is_no_such_module'",
        ),
        ("class TextRating:\n  pass\n", "has no `facts`"),
        ("", "AttributeError"),
    ],
)
def test_a_task_whose_package_is_broken_is_named_with_what_is_wrong(
    code: str, message: str, documentation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_task(tmp_path / "package", code, monkeypatch)
    values = yaml.safe_load(block(documentation, "yaml"))
    said = launch("plan", str(recipe_of(tmp_path, **values)), runs=tmp_path, exit_code=2).stderr
    assert "the task 'text_rating' of the package text-rating" in said
    assert message in said
    assert "Traceback" not in said

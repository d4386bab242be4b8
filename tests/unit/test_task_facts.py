"""What is known of tasks without importing them is what the tasks say themselves."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from rankfold import task_facts as facts_of_tasks
from rankfold.errors import RecipeError
from rankfold.known_metrics import METRICS
from rankfold.recipe.schema import Source
from rankfold.task_facts import BUILT_IN, GROUP, TABLES, TaskFacts, task_class, task_facts, task_names

FORMATS = get_args(Source.model_fields["format"].annotation)


def facts(**values: Any) -> TaskFacts:
    return replace(TaskFacts("Another task", "encoder", ("accuracy",), "accuracy"), **values)


class Another:
    """A task of another package."""

    facts = facts()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[metadata.EntryPoint]:
    """Entry points of the group, as if packages beside this one had them."""
    points: list[metadata.EntryPoint] = []

    def entry_points(**wanted: Any) -> metadata.EntryPoints:
        return metadata.EntryPoints(points).select(**wanted)

    monkeypatch.setattr(facts_of_tasks, "entry_points", entry_points)
    return points


def test_every_task_of_this_package_can_be_imported_without_torch(repository: Path) -> None:
    code = (
        "import json, sys; from rankfold.task_facts import BUILT_IN, task_class\n"
        "for name in BUILT_IN: assert task_class(name).facts is BUILT_IN[name][1], name\n"
        "heavy = ('torch', 'transformers', 'datasets', 'accelerate', 'peft', 'evaluate')\n"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repository / "src"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_a_login_node_knows_of_a_task_makes_sense(name: str) -> None:
    known = BUILT_IN[name][1]
    assert set(known.formats) <= set(FORMATS)
    assert known.metric_for_best_model in known.headline
    assert set(known.headline) <= {*METRICS, *known.metrics}
    assert len(set(known.headline)) == len(known.headline)
    # A model that writes text, or learns to, is no encoder.
    assert not (known.generates and known.model_kind == "encoder")
    assert known.packs <= (known.model_kind == "decoder")


def test_tables_are_formats_that_a_recipe_may_name() -> None:
    assert set(TABLES) <= set(FORMATS)


def test_a_task_of_another_package_is_named_after_ours(installed: list[metadata.EntryPoint]) -> None:
    installed.append(metadata.EntryPoint("zebra", f"{__name__}:Another", GROUP))
    installed.append(metadata.EntryPoint("another", f"{__name__}:Another", GROUP))
    assert task_names() == (*BUILT_IN, "another", "zebra")


def test_a_task_of_another_package_says_its_facts_itself(
    installed: list[metadata.EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "their_tasks", SimpleNamespace(Another=Another))
    installed.append(metadata.EntryPoint("another", "their_tasks:Another", GROUP))
    assert task_class("another") is Another
    assert task_facts("another") is Another.facts


def test_a_task_of_another_package_does_not_take_the_place_of_ours(
    installed: list[metadata.EntryPoint],
) -> None:
    installed.append(metadata.EntryPoint("embedding", "their_tasks:Another", GROUP))
    assert task_names().count("embedding") == 1
    assert task_facts("embedding") is BUILT_IN["embedding"][1]


def test_a_task_that_nobody_brings_is_refused_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"the task 'summarise'; there are .*extractive_qa, generative_ner"):
        task_facts("summarise")


def test_a_metric_is_shown_as_its_task_says_or_as_is_known_or_by_its_key() -> None:
    own = replace(METRICS["accuracy"], title="Hits")
    assert facts(metrics={"accuracy": own}).metric("accuracy") is own
    assert facts().metric("accuracy") is METRICS["accuracy"]
    assert facts().metric("hits_per_line").title == "hits per line"

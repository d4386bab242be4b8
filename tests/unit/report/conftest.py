"""The sample runs, as read."""

from pathlib import Path

import pytest
from unit.report.sample_run import write_entity_run, write_question_run, write_tagging_run

from rankfold.report.facts import RunFacts
from rankfold.report.read import read_facts


@pytest.fixture
def facts(tmp_path: Path) -> RunFacts:
    return read_facts(write_entity_run(tmp_path / "entities"))


@pytest.fixture
def question_facts(tmp_path: Path) -> RunFacts:
    return read_facts(write_question_run(tmp_path / "questions"))


@pytest.fixture
def tagging_facts(tmp_path: Path) -> RunFacts:
    return read_facts(write_tagging_run(tmp_path / "tags"))

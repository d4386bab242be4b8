"""The rows of the score tables."""

from dataclasses import replace
from pathlib import Path

import pytest
from unit.report.sample_examples import LABELS
from unit.report.sample_run import write_entity_run, write_question_run

from rankfold.report.facts import RunFacts
from rankfold.report.read import read_facts
from rankfold.report.scores import headline_rows, label_rows, score_rows


@pytest.fixture
def facts(tmp_path: Path) -> RunFacts:
    return read_facts(write_entity_run(tmp_path / "run"))


def test_a_lower_rate_of_failures_is_better_and_a_lower_f1_is_worse(facts: RunFacts) -> None:
    assert facts.base is not None
    assert facts.fine_tuned is not None
    trends = {row.title: row.trend for row in score_rows(facts)}
    assert trends["Entity F1"] == trends["Parse failure rate"] == "better"
    assert trends["Gold entities"] == trends["Predicted entities"] == "neither"
    swapped = replace(facts, base=facts.fine_tuned, fine_tuned=facts.base)
    assert {row.title: row.trend for row in score_rows(swapped)}["Entity F1"] == "worse"


def test_the_headline_is_what_the_task_is_about(facts: RunFacts, tmp_path: Path) -> None:
    assert [row.title for row in headline_rows(facts)] == ["Entity F1", "Precision", "Recall"]
    questions = read_facts(write_question_run(tmp_path / "questions"))
    assert [row.title for row in headline_rows(questions)] == ["Exact match", "F1"]


def test_without_a_baseline_there_is_no_before_and_no_change(facts: RunFacts) -> None:
    row = headline_rows(replace(facts, base=None))[0]
    assert (row.before, row.after, row.change, row.trend) == ("n/a", "0.745", "n/a", "neither")


def test_labels_come_in_the_order_of_the_recipe_then_by_name(facts: RunFacts) -> None:
    assert tuple(row.label for row in label_rows(facts)) == LABELS
    assert [row.label for row in label_rows(replace(facts, data=None))] == sorted(LABELS)


def test_a_label_that_only_one_model_has_is_absent_for_the_other(facts: RunFacts) -> None:
    assert facts.base is not None
    row = label_rows(replace(facts, base=replace(facts.base, per_label={})))[0]
    assert row.before is not None
    assert (row.before.f1, row.after and row.after.f1) == ("n/a", "0.889")

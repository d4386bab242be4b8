"""The evaluations during training."""

import json
from pathlib import Path
from typing import Any

import pytest
from unit.report.sample_run import add_evaluations, write, write_entity_run, write_tagging_run

from rankfold.report.evaluations import EvaluationTable, evaluation_table
from rankfold.report.read import read_facts
from rankfold.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_entity_run(tmp_path / "run")


def table_of(run: RunFolder) -> EvaluationTable:
    table = evaluation_table(read_facts(run))
    assert table is not None
    return table


def change_summary(run: RunFolder, **values: Any) -> None:
    summary = json.loads(run.train_summary.read_text(encoding="utf-8"))
    write(run.train_summary, summary | values)


def test_a_training_without_evaluations_has_no_table(run: RunFolder) -> None:
    assert evaluation_table(read_facts(run)) is None
    change_summary(run, eval_history=[], best_metric=None, best_step=None, metric_for_best_model=None)
    assert evaluation_table(read_facts(run)) is None


def test_the_kept_evaluation_is_the_best_where_the_recipe_says_so(tmp_path: Path) -> None:
    table = table_of(write_tagging_run(tmp_path / "tags"))
    assert table.summary == (
        "Evaluated 4 times on the validation set. Best by Entity F1: 0.741 at step 960; "
        "this is the model kept."
    )
    assert [row.step for row in table.rows] == ["320", "640", "960", "1,280"]
    assert [row.epoch for row in table.rows] == ["0.50", "1.00", "1.50", "2.00"]
    assert [row.is_best for row in table.rows] == [False, False, True, False]


def test_without_that_setting_the_last_model_is_kept(run: RunFolder) -> None:
    add_evaluations(run, "entity_f1", {640: 0.7, 1_280: 0.6})
    assert table_of(run).summary.endswith("0.700 at step 640; the model kept is the last one.")


def test_columns_are_the_tasks_main_scores_and_the_one_that_decides(run: RunFolder) -> None:
    add_evaluations(run, "entity_macro_f1", {640: 0.7})
    history = [{"step": 640, "epoch": 1.0, "entity_macro_f1": 0.7, "entity_f1": 0.8, "runtime": 3.0}]
    change_summary(run, eval_history=history)
    table = table_of(run)
    assert table.titles == ("Entity F1", "Macro F1")
    assert table.rows[0].values == ("0.800", "0.700")
    assert table.summary.startswith("Evaluated once on the validation set. Best by Macro F1: 0.700")


def test_a_metric_that_no_table_of_scores_has_is_shown_by_its_own_name(run: RunFolder) -> None:
    add_evaluations(run, "own_loss", {640: 0.123456})
    table = table_of(run)
    assert (table.titles, table.rows[0].values) == (("own loss",), ("0.1235",))


def test_a_value_that_is_not_a_number_is_absent_and_a_best_step_is_not_needed(run: RunFolder) -> None:
    history = [{"step": 640, "entity_f1": float("nan")}, {"step": 1_280, "entity_f1": 0.5}]
    change_summary(run, eval_history=history)
    table = table_of(run)
    assert table.summary == "Evaluated 2 times on the validation set."
    assert [(row.epoch, *row.values, row.is_best) for row in table.rows] == [
        ("n/a", "n/a", False),
        ("n/a", "0.500", False),
    ]

"""What is said beside the scores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from unit.report.sample_run import (
    TUNED_ON_120,
    merge_again,
    write,
    write_entity_run,
    write_question_run,
    write_tagging_run,
)

from rankfold.errors import OperationalError
from rankfold.report.notes import CMRC, INTERVALS, UNALIGNED, merge_notes, score_notes
from rankfold.report.read import read_facts
from rankfold.run_folder import RunFolder


@pytest.fixture
def questions(tmp_path: Path) -> RunFolder:
    return write_question_run(tmp_path / "questions")


@pytest.mark.parametrize(
    ("write_run", "speaks_of_unaligned"), [(write_entity_run, True), (write_tagging_run, False)]
)
def test_unaligned_entities_are_explained_only_where_a_model_writes_entities(
    tmp_path: Path, write_run: Callable[[Path], RunFolder], speaks_of_unaligned: bool
) -> None:
    counting, intervals = score_notes(read_facts(write_run(tmp_path / "run")))
    assert (UNALIGNED in counting) == speaks_of_unaligned
    assert "Macro scores are the mean over labels" in counting
    assert intervals == INTERVALS


def test_cmrc_is_explained_where_there_is_a_cmrc_score(questions: RunFolder) -> None:
    assert CMRC not in " ".join(score_notes(read_facts(questions)))
    write(questions.metrics("fine_tuned"), {"exact_match": 50.0, "f1": 50.0, "cmrc_f1": 75.0})
    assert CMRC in " ".join(score_notes(read_facts(questions)))


def test_without_intervals_none_is_explained(tmp_path: Path) -> None:
    facts = read_facts(write_entity_run(tmp_path / "run"))
    assert facts.base is not None
    alone = replace(facts, base=replace(facts.base, intervals={}), fine_tuned=None)
    assert INTERVALS not in score_notes(alone)


def test_a_run_merged_once_has_no_note(questions: RunFolder) -> None:
    assert merge_notes(read_facts(questions)) == ()


def test_settings_that_differ_from_the_recipe_are_named_beside_the_recipes(questions: RunFolder) -> None:
    for variant in ("base", "fine_tuned"):
        changed = {"evaluation.n_best_size": 5, "evaluation.max_answer_length": 15}
        merge_again(questions, variant, changed)
    assert merge_notes(read_facts(questions)) == (
        "All records were merged again with evaluation.max_answer_length = 15 (recipe: 30), "
        "evaluation.n_best_size = 5.",
    )


def test_a_tuned_threshold_says_on_how_many_questions_and_how_many_are_scored(questions: RunFolder) -> None:
    merge_again(questions, "base", {"evaluation.null_score_diff_threshold": -0.5, **TUNED_ON_120})
    merge_again(questions, "fine_tuned", {"evaluation.null_score_diff_threshold": 1.25, **TUNED_ON_120})
    of_base, of_trained = merge_notes(read_facts(questions))
    assert of_base.startswith("The base model's records were merged again with evaluation.null_score_diff")
    assert of_trained.endswith(
        "threshold = 1.25 (recipe: 0.0). The threshold was chosen on 120 test questions; "
        "only the other 5 are scored."
    )


def test_only_the_model_that_was_merged_again_has_a_note(questions: RunFolder) -> None:
    merge_again(questions, "fine_tuned", {"evaluation.max_answer_length": 15})
    (note,) = merge_notes(read_facts(questions))
    assert note.startswith("The trained model's records")


def test_a_note_on_tuning_without_its_numbers_is_a_damaged_file(questions: RunFolder) -> None:
    merge_again(questions, "base", {"tuned_on": {"share": 0.5}})
    with pytest.raises(OperationalError, match="'examples' is missing") as caught:
        read_facts(questions)
    assert caught.value.where == str(questions.merge_settings("base"))

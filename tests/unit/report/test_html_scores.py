"""The HTML report: scores, what is said beside them, and training."""

import re
from dataclasses import replace
from pathlib import Path

from unit.report.page import Page
from unit.report.sample_run import (
    TUNED_ON_120,
    add_evaluations,
    merge_again,
    write_entity_run,
    write_question_run,
)

from rankfold.report.facts import RunFacts
from rankfold.report.html import OPEN_EVALUATIONS, render_html
from rankfold.report.read import read_facts


def test_scores_stand_before_and_after_with_their_change(facts: RunFacts) -> None:
    words = Page(render_html(facts)).plain_words
    assert "before training 0.138 → after training 0.745 +0.607 better" in words
    assert "person 8 2 0 0.000 0.000 0.000 10 8 0.800 1.000 0.889" in words


def test_a_score_stands_with_its_interval(facts: RunFacts) -> None:
    words = Page(render_html(facts)).plain_words
    assert "+0.607 better 95 % interval 0.55–0.92" in words
    assert "Entity F1 0.138 0.00–0.27 0.745 0.55–0.92 +0.607 better" in words
    assert "A range is a 95 % bootstrap interval" in words


def test_other_ways_to_count_are_folded_and_explained(facts: RunFacts, question_facts: RunFacts) -> None:
    html = render_html(facts)
    assert '<details>\n<summary id="ways">Other ways to count</summary>' in html
    words = Page(html).plain_words
    assert "nervaluate partial 0.207 0.750 0.120 0.843 0.827 0.860" in words
    assert "nervaluate type Same label and an overlap." in words
    words = Page(render_html(question_facts)).plain_words
    assert "With the best null threshold" in words
    assert "Best F1 20.00 57.14 +37.14 better … at threshold 0.0000 −1.5000 −1.5000" in words
    assert "Other ways to count" not in words


def test_tagging_neither_invents_nor_fails_to_be_read(tagging_facts: RunFacts) -> None:
    words = Page(render_html(tagging_facts)).plain_words
    assert "Entity recognition by token classification with bert-base-chinese" in words
    assert "wrong predicted only" in words
    assert "missed organisation “University of Edinburgh”" in words
    for said in ("invented", "Unaligned", "Parse failure"):
        assert said not in words


def test_a_merge_under_other_settings_is_told_before_the_scores(tmp_path: Path) -> None:
    run = write_question_run(tmp_path / "questions")
    merge_again(run, "fine_tuned", {"evaluation.null_score_diff_threshold": 1.25, **TUNED_ON_120})
    words = Page(render_html(read_facts(run))).plain_words
    assert words.index("chosen on 120 test questions; only the other 5 are scored.") < words.index("Change")


def test_evaluations_during_training_are_told_with_the_best(tagging_facts: RunFacts) -> None:
    words = Page(render_html(tagging_facts)).plain_words
    assert "Best by Entity F1: 0.741 at step 960; this is the model kept." in words
    assert "640 1.00 0.734 960 1.50 0.741 best 1,280 2.00 0.719" in words


def test_many_evaluations_are_folded(tmp_path: Path) -> None:
    run = write_entity_run(tmp_path / "run")
    add_evaluations(run, "entity_f1", {step: step / 1_000 for step in range(OPEN_EVALUATIONS + 1)})
    summary = f">All {OPEN_EVALUATIONS + 1} evaluations</summary>"
    assert summary in render_html(read_facts(run))
    add_evaluations(run, "entity_f1", {step: step / 1_000 for step in range(OPEN_EVALUATIONS)})
    assert " evaluations</summary>" not in render_html(read_facts(run))


def test_without_a_baseline_there_is_no_before(facts: RunFacts) -> None:
    page = Page(render_html(replace(facts, base=None)))
    assert "before training" not in page.words
    assert ", before " not in page.words
    assert not re.search(r"\bnan\b", page.words, re.IGNORECASE)


def test_the_loss_curve_is_described_in_words(facts: RunFacts) -> None:
    html = render_html(facts)
    assert "Training loss by optimizer step</title>" in html
    assert "to 0.241 at step 1,280.</desc>" in html

"""The rows of the score tables."""

from dataclasses import replace
from pathlib import Path

from unit.report.sample_examples import LABELS
from unit.report.sample_run import write, write_entity_run, write_lines

from rankfold.report.facts import RunFacts
from rankfold.report.markdown import render_markdown
from rankfold.report.metrics import WAYS
from rankfold.report.read import read_facts
from rankfold.report.scores import headline_rows, label_rows, score_rows, threshold_rows, way_rows


def test_a_lower_rate_of_failures_is_better_and_a_lower_f1_is_worse(facts: RunFacts) -> None:
    assert facts.base is not None
    assert facts.fine_tuned is not None
    trends = {row.title: row.trend for row in score_rows(facts)}
    assert trends["Entity F1"] == trends["Parse failure rate"] == "better"
    assert trends["Gold entities"] == trends["Predicted entities"] == "neither"
    swapped = replace(facts, base=facts.fine_tuned, fine_tuned=facts.base)
    assert {row.title: row.trend for row in score_rows(swapped)}["Entity F1"] == "worse"


def test_the_headline_is_what_the_task_is_about(facts: RunFacts, question_facts: RunFacts) -> None:
    assert [row.title for row in headline_rows(facts)] == ["Entity F1", "Precision", "Recall"]
    assert [row.title for row in headline_rows(question_facts)] == ["Exact match", "F1"]


def test_without_a_baseline_there_is_no_before_and_no_change(facts: RunFacts) -> None:
    row = headline_rows(replace(facts, base=None))[0]
    shown = (row.before.value, row.after.value, row.change, row.trend)
    assert shown == ("n/a", "0.745", "n/a", "neither")


def test_chinese_answers_have_cmrcs_scores_at_the_top_too(question_facts: RunFacts) -> None:
    assert question_facts.fine_tuned is not None
    metrics = {"exact_match": 50.0, "f1": 50.0, "cmrc_exact_match": 50.0, "cmrc_f1": 75.25}
    chinese = replace(
        question_facts, base=None, fine_tuned=replace(question_facts.fine_tuned, metrics=metrics)
    )
    rows = headline_rows(chinese)
    assert [row.title for row in rows] == ["Exact match", "F1", "CMRC exact match", "CMRC F1"]
    assert rows[-1].after.value == "75.25"


def test_a_score_has_its_interval_with_one_decimal_less(facts: RunFacts, question_facts: RunFacts) -> None:
    assert facts.fine_tuned is not None
    facts = replace(facts, fine_tuned=replace(facts.fine_tuned, intervals={"entity_f1": (0.5549, 0.916)}))
    first, second, *_ = score_rows(facts)
    assert (first.after.interval, second.after.interval) == ("0.55–0.92", "")
    assert headline_rows(question_facts)[0].after.interval == "0.0–80.0"


def test_tagging_has_no_rates_of_what_only_generation_gets_wrong(tagging_facts: RunFacts) -> None:
    assert tagging_facts.fine_tuned is not None
    assert "parse_failure_rate" in tagging_facts.fine_tuned.metrics
    titles = [row.title for row in score_rows(tagging_facts)]
    assert titles[:6] == [
        "Entity F1",
        "Precision",
        "Recall",
        "Macro F1",
        "Macro precision",
        "Macro recall",
    ]
    assert titles[6:] == ["Gold entities", "Predicted entities", "Correct entities", "Examples"]


def test_every_other_way_to_count_has_a_row_and_an_explanation(facts: RunFacts) -> None:
    rows = way_rows(facts)
    assert [row.way.title for row in rows] == [way.title for way in WAYS]
    assert all(row.way.explanation for row in rows)
    lenient, lenient_macro, *_ = rows
    assert lenient.after is not None
    assert lenient_macro.after is not None
    assert (lenient.after.f1.value, lenient.after.f1.interval != "") == ("0.824", True)
    assert (lenient_macro.after.precision.value, lenient_macro.after.f1.value) == ("n/a", "0.769")
    by_scheme = {row.way.title: row.after.f1.value for row in rows if row.after}
    assert by_scheme["nervaluate partial"] == "0.843"


def test_a_way_that_neither_model_was_scored_by_is_left_out(facts: RunFacts) -> None:
    assert facts.fine_tuned is not None
    metrics = {"entity_f1": 0.5, "lenient_f1": 0.75}
    alone = replace(facts, base=None, fine_tuned=replace(facts.fine_tuned, metrics=metrics))
    (row,) = way_rows(alone)
    assert (row.way.title, row.before) == ("Lenient", None)


def test_the_best_threshold_stands_apart_from_the_scores(facts: RunFacts, question_facts: RunFacts) -> None:
    rows = threshold_rows(question_facts)
    assert [row.title for row in rows] == ["Best exact match", "… at threshold", "Best F1", "… at threshold"]
    assert (rows[0].trend, rows[1].trend) == ("better", "neither")
    assert rows[1].after.value == "−1.5000"
    assert not {row.title for row in score_rows(question_facts)} & {row.title for row in rows}
    assert threshold_rows(facts) == ()


def test_labels_come_in_the_order_of_the_recipe_then_by_name(facts: RunFacts) -> None:
    assert tuple(row.label for row in label_rows(facts)) == LABELS
    assert [row.label for row in label_rows(replace(facts, data=None))] == sorted(LABELS)


def test_a_label_that_only_one_model_has_is_absent_for_the_other(facts: RunFacts) -> None:
    assert facts.base is not None
    row = label_rows(replace(facts, base=replace(facts.base, per_label={})))[0]
    assert row.before is not None
    assert (row.before.f1, row.after and row.after.f1) == ("n/a", "0.889")


def test_a_score_that_was_not_measured_is_said_to_be_none_and_never_zero(tmp_path: Path) -> None:
    run = write_entity_run(tmp_path / "run")
    run.recipe.write_text(run.recipe.read_text().replace("task: generative_ner", "task: instruction"))
    for variant in ("base", "fine_tuned"):
        write(run.metrics(variant), {"perplexity": None, "chrf": None, "mean_num_tokens": 5.0})
        write_lines(run.details(variant), [])
    facts = read_facts(run)
    for rows in (headline_rows(facts), score_rows(facts)):
        shown = {row.title: (row.before.value, row.after.value, row.change, row.trend) for row in rows}
        assert shown["Perplexity"] == shown["chrF"] == ("n/a", "n/a", "n/a", "neither")
    assert shown["Tokens generated, mean"][1] == "5.0"
    assert "BLEU" not in shown
    said = " ".join(render_markdown(facts).split())
    assert "| Perplexity | n/a | n/a | n/a |" in said

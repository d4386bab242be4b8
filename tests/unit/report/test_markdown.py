"""The report in the terminal, held against texts that a person has read."""

from dataclasses import replace
from pathlib import Path

import pytest
from unit.report.sample_run import (
    TUNED_ON_120,
    add_evaluations,
    merge_again,
    write,
    write_entity_run,
    write_question_run,
    write_start,
    write_tagging_run,
)

from rankfold.report.facts import EntityResult
from rankfold.report.markdown import NUM_EVALUATIONS, render_markdown
from rankfold.report.read import read_facts
from rankfold.report.terminal import MAX_TEXT
from rankfold.run_folder import RunFolder

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A relative folder, so that the paths in a report are the same everywhere."""
    monkeypatch.chdir(tmp_path)
    return Path("runs")


def test_an_entity_run_reads_as_its_golden_file(runs: Path) -> None:
    markdown = render_markdown(read_facts(write_entity_run(runs / "harbour-ner-1")))
    assert markdown == (GOLDEN / "entities.md").read_text(encoding="utf-8")


def test_a_question_run_reads_as_its_golden_file(runs: Path) -> None:
    markdown = render_markdown(read_facts(write_question_run(runs / "lighthouse-qa-1")))
    assert markdown == (GOLDEN / "questions.md").read_text(encoding="utf-8")


def test_a_tagging_run_that_was_evaluated_while_it_trained_reads_as_its_golden_file(runs: Path) -> None:
    markdown = render_markdown(read_facts(write_tagging_run(runs / "harbour-tags-1")))
    assert markdown == (GOLDEN / "tags.md").read_text(encoding="utf-8")


def test_questions_merged_again_read_as_their_golden_file(runs: Path) -> None:
    run = write_question_run(runs / "lighthouse-qa-2")
    for variant, threshold in (("base", -0.5), ("fine_tuned", 1.25)):
        merge_again(run, variant, {"evaluation.null_score_diff_threshold": threshold, **TUNED_ON_120})
    markdown = render_markdown(read_facts(run))
    assert markdown == (GOLDEN / "merged_again.md").read_text(encoding="utf-8")


def test_of_many_evaluations_the_last_and_the_best_are_shown(runs: Path) -> None:
    run = write_entity_run(runs / "run")
    add_evaluations(run, "entity_f1", {100: 0.7, 200: 0.9} | dict.fromkeys(range(300, 1001, 100), 0.8))
    lines = render_markdown(read_facts(run)).splitlines()
    first = lines.index("| step  | epoch | Entity F1 |      |") + 2
    shown = [line.split("|")[1].strip() for line in lines[first : first + NUM_EVALUATIONS + 1]]
    assert shown == ["200", "600", "700", "800", "900", "1,000"]
    assert lines[first + NUM_EVALUATIONS + 1] == ""


def test_without_intervals_nothing_is_said_of_brackets(runs: Path) -> None:
    facts = read_facts(write_entity_run(runs / "run"))
    assert facts.fine_tuned is not None
    markdown = render_markdown(replace(facts, base=None, fine_tuned=replace(facts.fine_tuned, intervals={})))
    assert "In brackets" not in markdown
    assert "| Entity F1            |    n/a | 0.745 |    n/a |" in markdown


def test_a_run_that_failed_reads_as_its_golden_file(runs: Path) -> None:
    run = RunFolder(runs / "harbour-ner-2")
    write_start(run, name="harbour-ner", task="generative_ner", model="some/model")
    error = "CUDA out of memory.\nTried to allocate 2.00 GiB"
    write(
        run.job_state("train"),
        {"job": "train", "stage": "train", "state": "failed", "seconds": 12.0, "error": error},
    )
    assert render_markdown(read_facts(run)) == (GOLDEN / "failed.md").read_text(encoding="utf-8")


def test_text_from_data_can_neither_steer_the_terminal_nor_break_the_markdown(runs: Path) -> None:
    facts = read_facts(write_entity_run(runs / "run"))
    assert facts.fine_tuned is not None
    nasty = EntityResult(
        id="``id`",
        text="\x1b[2Jgone\n# not a heading " + "long " * 100,
        gold=(),
        predicted=(),
        invented=(),
        parse_failure=False,
        f1=0.0,
        generated=(),
    )
    per_label = {"a|b\x07": facts.fine_tuned.per_label["person"]}
    variant = replace(facts.fine_tuned, examples=(nasty,), per_label=per_label)
    markdown = render_markdown(replace(facts, base=None, fine_tuned=variant))
    assert "\x1b" not in markdown
    assert "\x07" not in markdown
    assert "\n# not a heading" not in markdown
    assert "| a\\|b� |" in markdown
    assert "1. ``` ``id` ``` · F1 0.000" in markdown
    assert max(len(line) for line in markdown.splitlines() if "gone" in line) <= MAX_TEXT + 5


def test_columns_line_up_when_labels_are_chinese(runs: Path) -> None:
    facts = read_facts(write_entity_run(runs / "run"))
    assert facts.fine_tuned is not None
    scores = facts.fine_tuned.per_label["person"]
    variant = replace(facts.fine_tuned, per_label={"地点": scores, "org": scores})
    lines = render_markdown(replace(facts, base=None, fine_tuned=variant)).splitlines()
    assert "| 地点  |    8 |" in "\n".join(lines)
    assert "| org   |    8 |" in "\n".join(lines)

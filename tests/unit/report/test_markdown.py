"""The report in the terminal, held against texts that a person has read."""

from dataclasses import replace
from pathlib import Path

import pytest
from unit.report.sample_run import write, write_entity_run, write_question_run, write_start

from rankfold.report.facts import EntityResult
from rankfold.report.markdown import MAX_TEXT, render_markdown
from rankfold.report.read import read_facts
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

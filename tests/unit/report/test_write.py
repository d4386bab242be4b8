"""Both reports land in the run's folder, whole."""

from pathlib import Path

from unit.report.sample_run import write_entity_run, write_lines

from rankfold.report.html import render_html
from rankfold.report.markdown import render_markdown
from rankfold.report.read import read_facts
from rankfold.report.write import write_report


def test_a_report_is_written_as_html_and_markdown(tmp_path: Path) -> None:
    run = write_entity_run(tmp_path / "run")
    write_report(run)
    facts = read_facts(run)
    assert run.report_html.read_text(encoding="utf-8") == render_html(facts)
    assert run.report_markdown.read_text(encoding="utf-8") == render_markdown(facts)


def test_writing_again_replaces_the_report_and_leaves_nothing_else(tmp_path: Path) -> None:
    run = write_entity_run(tmp_path / "run")
    write_report(run)
    names = sorted(path.name for path in run.root.iterdir())
    run.report_html.write_text("old", encoding="utf-8")
    write_report(run)
    assert sorted(path.name for path in run.root.iterdir()) == names
    assert run.report_html.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_half_a_surrogate_pair_in_the_data_does_not_stop_the_report(tmp_path: Path) -> None:
    run = write_entity_run(tmp_path / "run")
    line = {"id": "1", "text": "a?b", "gold": [], "predicted": [], "invented": [], "parse_failure": False}
    write_lines(run.details("fine_tuned"), [line | {"f1": 0.0, "generated": []}])
    broken = run.details("fine_tuned").read_text(encoding="utf-8").replace("a?b", "a\\ud83db")
    run.details("fine_tuned").write_text(broken, encoding="utf-8")
    write_report(run)
    assert ">a?b</p>" in run.report_html.read_text(encoding="utf-8")

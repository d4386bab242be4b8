"""The report as a browser shows it."""

import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import dump_dom, framed, screenshot
from unit.report.sample_run import (
    TUNED_ON_120,
    merge_again,
    write_entity_run,
    write_question_run,
    write_tagging_run,
)

from rankfold.data.examples import Span
from rankfold.report.facts import EntityResult, RunFacts
from rankfold.report.html import render_html
from rankfold.report.read import read_facts
from rankfold.report.write import write_report


@pytest.fixture
def entity_facts(tmp_path: Path) -> RunFacts:
    """The sample run with what makes a page wide: long words, labels, ids and names."""
    facts = read_facts(write_entity_run(tmp_path / "run"))
    assert facts.fine_tuned is not None
    word, label = "x" * 300, "l" * 80
    wide = EntityResult(
        "i" * 90, word, (Span(0, 300, label),), (Span(5, 200, label),), (), True, 0.0, (word,)
    )
    examples = (wide, *facts.fine_tuned.examples)
    return replace(facts, name="n" * 60, fine_tuned=replace(facts.fine_tuned, examples=examples))


@pytest.fixture
def question_facts(tmp_path: Path) -> RunFacts:
    run = write_question_run(tmp_path / "questions")
    merge_again(run, "fine_tuned", {"evaluation.null_score_diff_threshold": 1.25, **TUNED_ON_120})
    return read_facts(run)


@pytest.fixture
def tagging_facts(tmp_path: Path) -> RunFacts:
    return read_facts(write_tagging_run(tmp_path / "tags"))


def test_the_browser_finds_the_entities_that_are_marked(tmp_path: Path) -> None:
    run = write_entity_run(tmp_path / "run")
    write_report(run)
    dom = dump_dom(run.report_html)
    for marked in (
        '<mark class="right">Port-au-Prince</mark>',
        '<mark class="missed">Siemens</mark>',
        '<mark class="missed"><mark class="wrong">Red Cross</mark></mark>',
        '<mark class="invented"><bdi>Haiti</bdi></mark>',
        "&lt;b&gt;today&lt;/b&gt;",
    ):
        assert marked in dom


def test_the_browser_runs_no_script_that_came_with_the_data(tmp_path: Path) -> None:
    run = write_question_run(tmp_path / "run")
    write_report(run)
    # Even an escape that was forgotten must not run: the page's own policy forbids scripts.
    page = run.report_html.read_text(encoding="utf-8")
    run.report_html.write_text(
        page.replace("</main>", "<script>document.title = 'ran'</script></main>"), encoding="utf-8"
    )
    assert "<title>lighthouse-qa · report</title>" in dump_dom(run.report_html)


@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("kind", ["entity_facts", "question_facts", "tagging_facts"])
def test_the_page_is_never_wider_than_the_window(
    kind: str, width: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    html = render_html(request.getfixturevalue(kind)).replace("<details>", "<details open>")
    page = tmp_path / "framed.html"
    page.write_text(framed(html, width=width), encoding="utf-8")
    size = re.search(r'data-scroll-width="(\d+)" data-scroll-height="(\d+)"', dump_dom(page))
    assert size is not None
    assert int(size[1]) == width
    assert int(size[2]) > 1_000


@pytest.mark.parametrize(("dark", "paper"), [(False, "rgb(253, 253, 251)"), (True, "rgb(23, 23, 22)")])
def test_the_page_follows_the_reader_into_the_dark(
    dark: bool, paper: str, tmp_path: Path, question_facts: RunFacts
) -> None:
    page = tmp_path / "framed.html"
    page.write_text(framed(render_html(question_facts), width=1400), encoding="utf-8")
    assert f'data-background="{paper}"' in dump_dom(page, dark=dark)


def test_a_picture_of_the_page_has_something_on_it(tmp_path: Path) -> None:
    run = write_entity_run(tmp_path / "run")
    write_report(run)
    pictures = []
    for dark in (False, True):
        screenshot(run.report_html, tmp_path / "page.png", width=1400, height=900, dark=dark)
        pictures.append((tmp_path / "page.png").read_bytes())
        assert pictures[-1].startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", pictures[-1][16:24]) == (1400, 900)
        # An empty page of this size packs into less than 10 kB.
        assert len(pictures[-1]) > 25_000
    assert pictures[0] != pictures[1]

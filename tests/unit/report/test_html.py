"""The HTML report: its structure, its marks, and that data stays data."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from unit.report.sample_examples import ENTITY_TEXTS
from unit.report.sample_run import write, write_entity_run, write_question_run, write_start

from rankfold.report.facts import EntityResult, InventedEntity, RunFacts, VariantFacts
from rankfold.report.html import OPEN_EXAMPLES, OPEN_PARSE_FAILURES, render_html
from rankfold.report.mistakes import MAX_EXAMPLES
from rankfold.report.read import read_facts
from rankfold.run_folder import RunFolder

VOID = {"meta", "line", "circle", "polyline"}
NASTY = "<script>alert('x')</script>&amp;\"'</style>"


@dataclass
class Page(HTMLParser):
    """What a browser would find: tags, marks with their kind, texts by class, ids and links."""

    html: str
    tags: Counter[str] = field(default_factory=Counter)
    marks: list[tuple[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    words: str = ""
    ids: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str | None]] = field(default_factory=list)
    table_headers_without_scope: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.feed(self.html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags[tag] += 1
        self.attributes += attrs
        self.ids += [given["id"] or ""] if "id" in given else []
        self.table_headers_without_scope += tag == "th" and "scope" not in given
        if tag == "mark":
            self.marks.append((given["class"] or "", ""))
        if given.get("class") == "text":
            self.texts.append("")
        if tag not in VOID:
            self.open.append((tag, given.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        # Neighbouring cells are apart on the page though no space is between them in the text.
        self.words += " " * (tag in ("td", "th", "dt", "dd"))
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        classes = [name for _, name in self.open]
        if "style" not in [tag for tag, _ in self.open]:
            self.words += data
        if "mark" in [tag for tag, _ in self.open]:
            self.marks[-1] = (self.marks[-1][0], self.marks[-1][1] + data)
        if "text" in classes and not any(name.startswith("tag ") for name in classes):
            self.texts[-1] += data


@pytest.fixture
def facts(tmp_path: Path) -> RunFacts:
    return read_facts(write_entity_run(tmp_path / "run"))


@pytest.fixture
def question_facts(tmp_path: Path) -> RunFacts:
    return read_facts(write_question_run(tmp_path / "questions"))


def with_examples(facts: RunFacts, *examples: EntityResult) -> RunFacts:
    assert facts.fine_tuned is not None
    return replace(facts, fine_tuned=replace(facts.fine_tuned, examples=examples))


def example(number: int, *, parse_failure: bool = False) -> EntityResult:
    return EntityResult(f"id-{number}", "text", (), (), (), parse_failure, 0.0, ("{",))


@pytest.mark.parametrize("kind", ["facts", "question_facts"])
def test_the_page_needs_nothing_from_outside(kind: str, request: pytest.FixtureRequest) -> None:
    html = render_html(request.getfixturevalue(kind))
    page = Page(html)
    assert not page.tags.keys() & {"script", "link", "img", "iframe", "base", "form"}
    assert not {name for name, _ in page.attributes} & {"src", "style"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all((value or "").startswith("#") for name, value in page.attributes if name == "href")
    css = re.search(r"<style>(.*)</style>", html, re.DOTALL)
    assert css is not None
    assert "url(" not in css[1]
    assert "@import" not in css[1]


@pytest.mark.parametrize("kind", ["facts", "question_facts"])
def test_the_page_is_accessible_in_its_structure(kind: str, request: pytest.FixtureRequest) -> None:
    page = Page(render_html(request.getfixturevalue(kind)))
    assert page.tags["h1"] == page.tags["main"] == page.tags["title"] - 1 == 1
    assert page.table_headers_without_scope == 0
    assert len(page.ids) == len(set(page.ids))
    referred = {
        name for key, value in page.attributes if key == "aria-labelledby" for name in (value or "").split()
    }
    linked = {(value or "")[1:] for key, value in page.attributes if key == "href"}
    assert referred | linked <= set(page.ids)


def test_scores_stand_before_and_after_with_their_change(facts: RunFacts) -> None:
    words = " ".join(Page(render_html(facts)).words.split())
    assert "before training 0.138 → after training 0.745 +0.607 better" in words
    assert "person 8 2 0 0.000 0.000 0.000 10 8 0.800 1.000 0.889" in words


def test_every_text_is_shown_whole_and_unchanged(facts: RunFacts) -> None:
    texts = Page(render_html(facts)).texts
    assert Counter(texts) == Counter([text for text, _ in ENTITY_TEXTS] + [ENTITY_TEXTS[8][0]])


def test_entities_are_marked_by_kind_and_named_in_words(facts: RunFacts) -> None:
    page = Page(render_html(facts))
    assert ("right", "Port-au-Prince") in page.marks
    assert ("missed", "Siemens") in page.marks
    assert ("wrong", "rain") in page.marks
    assert ("invented", "Haiti") in page.marks
    words = " ".join(page.words.split())
    assert "missed organisation" in words
    assert "wrong location" in words
    assert "Not in the text: Hait" in words


def test_entangled_entities_are_spelled_out(facts: RunFacts) -> None:
    words = Page(render_html(facts)).words
    assert "missed organisation “University of Edinburgh”" in words
    assert "wrong location “of Edinburgh opened”" in words
    assert "✓ person “" not in words


def test_a_question_shows_gold_and_predicted_answers_in_their_context(question_facts: RunFacts) -> None:
    page = Page(render_html(question_facts))
    words = " ".join(page.words.split())
    assert "Gold the island of Hven / Hven" in words
    assert "Predicted no answer" in words
    assert ("wrong", "island of ") in page.marks
    assert ("right", "Karin Månsdotter") in page.marks
    assert any(text.startswith("… ") and text.endswith(" …") for text in page.texts)


def test_examples_beyond_the_first_are_folded_and_limited(facts: RunFacts) -> None:
    many = [example(number) for number in range(MAX_EXAMPLES + 50)]
    html = render_html(with_examples(facts, *many))
    assert f"<summary>{MAX_EXAMPLES - OPEN_EXAMPLES} more</summary>" in html
    assert "100 of 150 examples" in html
    assert "id-99<" in html
    assert "id-100<" not in html


def test_parse_failures_show_what_the_model_wrote(facts: RunFacts) -> None:
    many = [example(number, parse_failure=True) for number in range(8)]
    assert "The answers to 8 of 8 texts" in render_html(with_examples(facts, *many))
    assert f"<summary>{8 - OPEN_PARSE_FAILURES} more</summary>" in render_html(with_examples(facts, *many))
    assert '<pre dir="auto">\nSure! Here they are: {&#34;entity_text&#34;' in render_html(facts)
    assert 'id="failures"' not in render_html(with_examples(facts, example(0)))


def test_what_ran_is_told(facts: RunFacts) -> None:
    words = " ".join(Page(render_html(facts)).words.split())
    assert "launch submit recipes/harbour-ner.yaml train.learning_rate=1.0e-4" in words
    assert "on main, with uncommitted changes" in words
    assert "2 × NVIDIA H100 80GB HBM3" in words
    assert "train.learning_rate command line" in words
    assert "transformers 5.23.0" in words
    assert "Parameters trained 9,232,384" in words
    assert "Dropped from train: 1,204 × no entity with a wanted label; 3 × text is empty" in words
    assert "Dropped before the split: 12 × question without a usable answer" in words
    assert "Repaired in train: 50 × offsets moved to entity_text" in words
    assert "name_or_path: Qwen/Qwen2-1.5B-Instruct" in words


def test_all_text_from_data_and_recipe_is_escaped(facts: RunFacts) -> None:
    assert facts.fine_tuned is not None
    assert facts.environment is not None
    assert facts.code is not None
    assert facts.data is not None
    result = EntityResult(
        NASTY, NASTY, (), (), (InventedEntity(NASTY, NASTY),), parse_failure=True, f1=0.0, generated=(NASTY,)
    )
    label_scores = facts.fine_tuned.per_label["person"]
    nasty = replace(
        facts,
        name=NASTY,
        run_id=NASTY,
        model=NASTY,
        recipe=NASTY,
        command=(NASTY,),
        value_sources={NASTY: NASTY},
        code=replace(facts.code, revision=NASTY, branch=NASTY),
        environment=replace(facts.environment, platform=NASTY, gpus=(NASTY,), packages={NASTY: NASTY}),
        jobs=tuple(replace(job, state="failed", error=NASTY, job=NASTY) for job in facts.jobs[:1]),
        data=replace(
            facts.data,
            splits=tuple(replace(split, dropped={NASTY: 1}) for split in facts.data.splits),
            dropped_before_split={NASTY: 1},
            repaired={NASTY: {NASTY: 1}},
        ),
        fine_tuned=VariantFacts(facts.fine_tuned.metrics, {NASTY: label_scores}, (result,)),
    )
    html = render_html(nasty)
    page = Page(html)
    assert page.tags["script"] == 0
    assert html.count("</style>") == 1
    assert page.words.count(NASTY) >= 20
    assert page.texts == [NASTY, NASTY]


def test_a_question_with_markup_is_escaped(question_facts: RunFacts) -> None:
    page = Page(render_html(question_facts))
    assert page.tags["script"] == 0
    assert any("<script>alert(1)</script>" in text for text in page.texts)


def test_a_run_that_has_only_begun_says_what_is_not_there_yet(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "young")
    write_start(run, name="young", task="generative_ner", model="some/model")
    words = Page(render_html(read_facts(run))).words
    for said in (
        "pending",
        "No scores yet",
        "No predictions yet.",
        "Training has not finished.",
        "The data has not been prepared.",
        "Not recorded.",
    ):
        assert said in words


def test_a_failed_job_stands_at_the_top_with_its_error(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "failed")
    write_start(run, name="failed", task="extractive_qa", model="some/model")
    state = {"job": "train", "stage": "train", "state": "failed", "seconds": 3.0, "error": "out of memory"}
    write(run.job_state("train"), state)
    words = " ".join(Page(render_html(read_facts(run))).words.split())
    assert words.index("train failed out of memory") < words.index("Scores")


def test_without_a_baseline_there_is_no_before(facts: RunFacts) -> None:
    page = Page(render_html(replace(facts, base=None)))
    assert "before training" not in page.words
    assert ", before " not in page.words
    assert not re.search(r"\bnan\b", page.words, re.IGNORECASE)


def test_only_the_base_model_evaluated_shows_its_examples(facts: RunFacts) -> None:
    words = Page(render_html(replace(facts, fine_tuned=None))).words
    assert "The worst mistakes of the base model first" in words


def test_the_loss_curve_is_described_in_words(facts: RunFacts) -> None:
    html = render_html(facts)
    assert "Training loss by optimizer step</title>" in html
    assert "to 0.241 at step 1,280.</desc>" in html

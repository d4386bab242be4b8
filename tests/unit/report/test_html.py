"""The HTML report: its structure, its marks, and that data stays data."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from unit.report.page import Page
from unit.report.sample_examples import ENTITY_TEXTS
from unit.report.sample_run import (
    write,
    write_start,
)

from rankfold.report.facts import (
    ChangedSetting,
    EntityResult,
    Evaluation,
    InventedEntity,
    MergedAgain,
    RunFacts,
    TextResult,
    VariantFacts,
)
from rankfold.report.html import OPEN_EXAMPLES, OPEN_PARSE_FAILURES, render_html
from rankfold.report.mistakes import MAX_EXAMPLES
from rankfold.report.read import read_facts
from rankfold.run_folder import RunFolder
from rankfold.task_facts import task_facts

NASTY = "<script>alert('x')</script>&amp;\"'</style>"


def with_examples(facts: RunFacts, *examples: EntityResult) -> RunFacts:
    assert facts.fine_tuned is not None
    return replace(facts, fine_tuned=replace(facts.fine_tuned, examples=examples))


def example(number: int, *, parse_failure: bool = False) -> EntityResult:
    return EntityResult(f"id-{number}", "text", (), (), (), parse_failure, 0.0, ("{",))


@pytest.mark.parametrize("kind", ["facts", "question_facts", "tagging_facts"])
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


@pytest.mark.parametrize("kind", ["facts", "question_facts", "tagging_facts"])
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


@pytest.mark.parametrize(
    ("gold", "predicted", "score", "words"),
    [
        ("two", "too", 0.5, "Gold two Predicted too"),
        ("", "with perplexity 6.36, 16 tokens", None, "Predicted with perplexity 6.36, 16 tokens"),
        ("", "too", 0.0, "Gold nothing Predicted too"),
        ("two", "", 0.0, "Gold two Predicted nothing"),
        ("", "", None, ""),
    ],
)
def test_an_example_of_text_has_a_gold_line_where_there_is_gold(
    gold: str, predicted: str, score: float | None, words: str, facts: RunFacts
) -> None:
    assert facts.fine_tuned is not None
    result = TextResult("id-0", "some text", gold, predicted, score)
    variant = replace(facts.fine_tuned, examples=(result,))
    shown = replace(facts, about_task=task_facts("causal_lm"), fine_tuned=variant)
    behind = Page(render_html(shown)).plain_words.partition("some text ")[2]
    assert behind.partition("Training")[0].strip() == words


def test_every_text_is_shown_whole_and_unchanged(facts: RunFacts) -> None:
    texts = Page(render_html(facts)).texts
    assert Counter(texts) == Counter([text for text, _ in ENTITY_TEXTS] + [ENTITY_TEXTS[8][0]])


def test_entities_are_marked_by_kind_and_named_in_words(facts: RunFacts) -> None:
    page = Page(render_html(facts))
    assert ("right", "Port-au-Prince") in page.marks
    assert ("missed", "Siemens") in page.marks
    assert ("wrong", "rain") in page.marks
    assert ("invented", "Haiti") in page.marks
    words = page.plain_words
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
    words = page.plain_words
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
    words = Page(render_html(facts)).plain_words
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
    assert facts.training is not None
    result = EntityResult(
        NASTY, NASTY, (), (), (InventedEntity(NASTY, NASTY),), parse_failure=True, f1=0.0, generated=(NASTY,)
    )
    evaluation, setting = Evaluation(1, 1.0, {NASTY: 0.5}), ChangedSetting(NASTY, NASTY, NASTY)
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
        training=replace(facts.training, evaluations=(evaluation,), best_metric=NASTY, best_step=1),
        fine_tuned=VariantFacts(
            facts.fine_tuned.metrics, {}, {NASTY: label_scores}, (result,), MergedAgain((setting,), None)
        ),
    )
    html = render_html(nasty)
    page = Page(html)
    assert page.tags["script"] == 0
    assert html.count("</style>") == 1
    assert page.words.count(NASTY) >= 25
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
    words = Page(render_html(read_facts(run))).plain_words
    assert words.index("train failed out of memory") < words.index("Scores")


def test_only_the_base_model_evaluated_shows_its_examples(facts: RunFacts) -> None:
    words = Page(render_html(replace(facts, fine_tuned=None))).words
    assert "The worst mistakes of the base model first" in words

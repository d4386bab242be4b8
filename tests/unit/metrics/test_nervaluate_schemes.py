"""nervaluate's four schemes, against nervaluate itself."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate.evaluator import Evaluator

from rankfold.data.examples import Span
from rankfold.metrics.entities import count_entities
from rankfold.metrics.nervaluate_schemes import NervaluateCounts, SchemeCounts, count_schemes

COUNTS = ("correct", "incorrect", "partial", "missed", "spurious")
FIGURES = ("precision", "recall", "f1", *COUNTS)


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Overlapping, nested and repeated spans, some of them longer than a hundred characters."""
    starts = draw(st.lists(st.integers(0, 12), max_size=5))
    lengths = st.one_of(st.integers(1, 6), st.sampled_from([99, 100, 101, 250]))
    return [Span(start, start + draw(lengths), draw(st.sampled_from(["PER", "LOC"]))) for start in starts]


TEXTS = st.lists(st.tuples(spans(), spans()), min_size=1, max_size=4)


def tally(texts: list[tuple[list[Span], list[Span]]]) -> NervaluateCounts:
    counts = (count_schemes(gold, predicted, num_invented=0) for gold, predicted in texts)
    return sum(counts, NervaluateCounts())


def as_nervaluate(entities: list[Span]) -> list[dict[str, Any]]:
    """Sorted and without repeats, as here; its end is the last character, ours the one after."""
    return [{"label": span.label, "start": span.start, "end": span.end - 1} for span in sorted(set(entities))]


def nervaluate(texts: list[tuple[list[Span], list[Span]]]) -> dict[str, dict[str, float]]:
    gold, predicted = ([as_nervaluate(text[side]) for text in texts] for side in (0, 1))
    overall = Evaluator(gold, predicted, tags=["PER", "LOC"], loader="dict").evaluate()["overall"]
    return {
        scheme: {figure: getattr(result, figure) for figure in FIGURES} for scheme, result in overall.items()
    }


@given(TEXTS)
@settings(max_examples=400)
def test_every_figure_of_every_scheme_is_nervaluates_to_the_bit(
    texts: list[tuple[list[Span], list[Span]]],
) -> None:
    assert tally(texts).metrics == nervaluate(texts)


def test_the_four_schemes_differ_on_a_wrong_label_and_on_a_wrong_boundary() -> None:
    gold = [Span(0, 5, "PER"), Span(10, 15, "PER")]
    counts = count_schemes(gold, [Span(0, 5, "LOC"), Span(10, 14, "PER")], num_invented=0)
    assert counts.strict == SchemeCounts(incorrect=2)
    assert counts.exact == SchemeCounts(correct=1, incorrect=1)
    assert counts.partial == SchemeCounts(correct=1, partial=1)
    assert counts.ent_type == SchemeCounts(correct=1, incorrect=1)
    assert counts.partial.metrics["f1"] == 0.75


def test_an_entity_that_only_overlaps_takes_the_gold_entity_from_a_later_one_that_matches() -> None:
    gold, predicted = [Span(0, 5, "PER")], [Span(0, 3, "PER"), Span(0, 5, "PER")]
    assert count_schemes(gold, predicted, num_invented=0).strict == SchemeCounts(incorrect=1, spurious=1)
    assert count_entities(gold, predicted).spans.total.num_correct == 1


@pytest.mark.parametrize(("length", "overlaps"), [(100, True), (101, False)])
def test_an_overlap_counts_from_one_percent_of_the_gold_entity(length: int, overlaps: bool) -> None:
    counts = count_schemes([Span(0, length, "PER")], [Span(0, 1, "PER")], num_invented=0)
    assert counts.ent_type == (SchemeCounts(correct=1) if overlaps else SchemeCounts(missed=1, spurious=1))


def test_of_several_gold_entities_of_its_label_the_nearest_is_taken() -> None:
    gold = [Span(0, 9, "PER"), Span(1, 4, "PER")]
    counts = count_schemes(gold, [Span(1, 5, "PER"), Span(6, 9, "PER")], num_invented=0)
    assert counts.ent_type == SchemeCounts(correct=2)


def test_invented_entities_are_spurious_and_repeated_spans_count_once() -> None:
    paris = Span(0, 5, "LOC")
    counts = count_schemes([paris], [paris, paris], num_invented=2)
    for scheme in (counts.strict, counts.exact, counts.partial, counts.ent_type):
        assert scheme == SchemeCounts(correct=1, spurious=2)


def test_nothing_scores_zero_in_every_scheme() -> None:
    metrics = NervaluateCounts().metrics
    assert list(metrics) == ["strict", "exact", "partial", "ent_type"]
    assert all(set(figures.values()) == {0} for figures in metrics.values())


@given(TEXTS, TEXTS)
def test_counts_of_shards_add_up_to_the_whole(
    first: list[tuple[list[Span], list[Span]]], second: list[tuple[list[Span], list[Span]]]
) -> None:
    assert tally(first) + tally(second) == tally(second) + tally(first) == tally(first + second)

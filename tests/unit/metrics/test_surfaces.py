"""CLUENER's macro F1 over surface strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.metrics.counts import Counts, LabelCounts, macro_average
from rankfold.metrics.surfaces import Surface, count_surfaces

SURFACES = st.lists(
    st.builds(Surface, st.sampled_from("AB"), st.sampled_from(["甲", "乙", "丙"])), max_size=5
)
TEXTS = st.lists(st.tuples(SURFACES, SURFACES), max_size=6)


def test_the_place_does_not_matter_and_a_name_that_occurs_twice_counts_once() -> None:
    counts = count_surfaces([Surface("PER", "叶老桂"), Surface("PER", "叶老桂")], [Surface("PER", "叶老桂")])
    assert counts.total == Counts(1, 1, 1)


@pytest.mark.parametrize("wrong", [Surface("PER", "叶老"), Surface("ORG", "叶老桂")])
def test_other_characters_or_another_label_are_wrong(wrong: Surface) -> None:
    assert count_surfaces([Surface("PER", "叶老桂")], [wrong]).total == Counts(1, 1, 0)


def test_nothing_counts_nothing() -> None:
    assert count_surfaces([], []) == LabelCounts()


@given(TEXTS)
def test_the_score_equals_a_second_writing_of_the_script(
    texts: list[tuple[list[Surface], list[Surface]]],
) -> None:
    counts = sum((count_surfaces(gold, predicted) for gold, predicted in texts), LabelCounts())
    labels = [label for label in "AB" if counts.gold[label] or counts.predicted[label]]
    expected = sum(restated(texts, label) for label in labels) / max(1, len(labels))
    assert macro_average(counts, "AB").f1 == pytest.approx(expected, abs=1e-15)


def restated(texts: list[tuple[list[Surface], list[Surface]]], label: str) -> float:
    """F1 of one label, over dictionaries of the strings in each text, as in the data set's files."""
    right = wrong = forgotten = 0
    for gold, predicted in texts:
        there = dict.fromkeys(surface.text for surface in gold if surface.label == label)
        said = dict.fromkeys(surface.text for surface in predicted if surface.label == label)
        right += sum(text in there for text in said)
        wrong += sum(text not in there for text in said)
        forgotten += sum(text not in said for text in there)
    if right == 0:
        return 0.0
    precision, recall = right / (right + wrong), right / (right + forgotten)
    return 2 * precision * recall / (precision + recall)

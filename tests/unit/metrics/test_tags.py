"""Tag sequences, against seqeval."""

import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import scheme as seqeval_schemes
from seqeval.metrics.sequence_labeling import (
    precision_recall_fscore_support as seqeval_lenient,
)
from seqeval.metrics.v1 import (
    precision_recall_fscore_support as seqeval_strict,
)

from rankfold.errors import DataError
from rankfold.metrics.counts import LabelCounts
from rankfold.metrics.tags import SchemeName, TaggedEntity, count_tags, read_tags, tag_metrics

LETTERS: dict[SchemeName | None, str] = {
    None: "BIES",
    "IOB2": "BI",
    "IOE2": "IE",
    "IOBES": "BIES",
    "BILOU": "BILU",
}
Pairs = list[tuple[list[str], list[str]]]


@st.composite
def tag_pairs(draw: st.DrawFn, letters: str) -> Pairs:
    """Gold and predicted tags in any order, allowed or not, alike often enough to agree here and there."""
    tags = st.sampled_from(["O", *(f"{letter}-{label}" for letter in letters for label in ("PER", "a-b"))])
    golds = draw(st.lists(st.lists(tags, max_size=8), min_size=1, max_size=4))
    changed = st.one_of(st.none(), tags)
    return [(gold, [draw(changed) or tag for tag in gold]) for gold in golds]


def tally(pairs: Pairs, scheme: SchemeName | None) -> LabelCounts:
    return sum((count_tags(gold, predicted, scheme) for gold, predicted in pairs), LabelCounts())


def seqeval(pairs: Pairs, scheme: SchemeName | None, average: str | None) -> Any:
    golds, predictions = [gold for gold, _ in pairs], [predicted for _, predicted in pairs]
    options: dict[str, Any] = {"average": average, "zero_division": 0}
    if scheme is None:
        return seqeval_lenient(golds, predictions, **options)
    return seqeval_strict(golds, predictions, scheme=getattr(seqeval_schemes, scheme), **options)


def scores(metrics: dict[str, Any], prefix: str) -> tuple[float, float, float]:
    return metrics[f"{prefix}precision"], metrics[f"{prefix}recall"], metrics[f"{prefix}f1"]


@pytest.mark.parametrize("scheme", LETTERS)
@given(st.data())
@settings(max_examples=80)
def test_every_average_is_seqevals(scheme: SchemeName | None, data: st.DataObject) -> None:
    pairs = data.draw(tag_pairs(LETTERS[scheme]))
    metrics = tag_metrics(tally(pairs, scheme))
    for average in ("micro", "macro", "weighted"):
        if average == "macro" and not metrics["per_label"]:
            continue  # seqeval takes the mean of nothing, which is NaN; here it is 0
        expected = seqeval(pairs, scheme, average)
        assert scores(metrics, f"{average}_") == pytest.approx(expected[:3], abs=1e-12)
        assert metrics["num_gold"] == expected[3]


@pytest.mark.parametrize("scheme", LETTERS)
@given(st.data())
@settings(max_examples=80)
def test_every_label_is_seqevals(scheme: SchemeName | None, data: st.DataObject) -> None:
    pairs = data.draw(tag_pairs(LETTERS[scheme]))
    per_label = tag_metrics(tally(pairs, scheme))["per_label"]
    precision, recall, f1, support = seqeval(pairs, scheme, None)
    for place, figures in enumerate(per_label[label] for label in sorted(per_label)):
        expected = (precision[place], recall[place], f1[place])
        assert scores(figures, "") == pytest.approx(expected, abs=1e-12)
        assert figures["num_gold"] == support[place]
    assert len(per_label) == len(support)


@given(tag_pairs("BIES"), st.sampled_from([None, "IOBES"]))
def test_bmes_and_bilou_are_bioes_by_other_letters(pairs: Pairs, scheme: SchemeName | None) -> None:
    for renamed, name in ((str.maketrans("I", "M"), "BMES"), (str.maketrans("IES", "ILU"), "BILOU")):
        for tags, _ in pairs:
            # The labels have none of these letters but E and R, which follow the hyphen.
            other = [tag[:1].translate(renamed) + tag[1:] for tag in tags]
            assert read_tags(other, scheme and name) == read_tags(tags, scheme)  # type: ignore[arg-type]


def test_two_single_token_entities_of_bilou_stay_two_where_seqeval_joins_them() -> None:
    tags = ["U-PER", "U-PER"]
    assert len(read_tags(tags)) == 2
    with warnings.catch_warnings(action="ignore"):
        assert seqeval([(tags, tags)], None, "micro")[3] == 1


def test_an_entity_that_starts_inside_counts_leniently_and_not_strictly() -> None:
    tags = ["O", "I-PER", "I-PER"]
    assert read_tags(tags) == [TaggedEntity(1, 3, "PER")]
    assert read_tags(tags, "IOB2") == []


def test_an_entity_that_never_ends_counts_leniently_and_not_strictly() -> None:
    assert read_tags(["B-PER", "I-PER"]) == [TaggedEntity(0, 2, "PER")]
    assert read_tags(["B-PER", "I-PER"], "IOBES") == []


def test_a_tag_without_a_label_has_the_label_of_seqeval() -> None:
    assert read_tags(["B", "I"]) == [TaggedEntity(0, 2, "_")]


@pytest.mark.parametrize("tag", ["", "X-PER", "PER", "B_PER", "O-PER", "b-PER", "-"])
def test_what_is_no_tag_is_refused_with_what_is(tag: str) -> None:
    with pytest.raises(DataError, match="allowed are O, B-LABEL or I-LABEL or E-LABEL or S-LABEL"):
        read_tags(["O", tag])


def test_a_tag_of_another_scheme_is_refused() -> None:
    with pytest.raises(DataError, match=r"'S-PER' is no tag of IOB2"):
        read_tags(["S-PER"], "IOB2")


def test_sequences_of_different_lengths_are_refused_with_both_lengths() -> None:
    with pytest.raises(DataError, match="2 gold tags but 1 predicted"):
        count_tags(["O", "O"], ["O"])


def test_no_sequences_score_zero() -> None:
    metrics = tag_metrics(LabelCounts())
    assert metrics.pop("per_label") == {}
    assert set(metrics.values()) == {0}


@given(tag_pairs("BIES"), st.integers(1, 3))
def test_counts_of_shards_add_up_to_the_whole(pairs: Pairs, num_shards: int) -> None:
    shards = [tally(pairs[rank::num_shards], None) for rank in range(num_shards)]
    assert tag_metrics(sum(reversed(shards), LabelCounts())) == tag_metrics(tally(pairs, None))

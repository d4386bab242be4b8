"""Every entity score of a data set, from its details read one line at a time."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankfold.metrics.entities import EntityTally, entity_metrics, entity_metrics_of, tally_entities

TEXT = "Marie met Paul in Paris, Texas."
ROW = {
    "id": "1",
    "text": TEXT,
    "gold": [[0, 5, "PER"], [10, 14, "PER"], [18, 23, "LOC"]],
    "predicted": [[0, 5, "PER", 0.9], [18, 30, "LOC", None]],
    "invented": [{"text": "Rome", "label": "LOC"}],
    "parse_failure": False,
    "f1": 0.5,
    "generated": [],
}
EMPTY_ROW = ROW | {"id": "2", "gold": [], "predicted": [], "invented": [], "parse_failure": True}
LABELS = ("PER", "LOC")


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    def spans() -> list[list[Any]]:
        starts = draw(st.lists(st.integers(0, 20), max_size=4))
        return [
            [start, start + draw(st.integers(1, 6)), draw(st.sampled_from(["PER", "LOC", "X"]))]
            for start in starts
        ]

    invented = draw(st.lists(st.sampled_from(["PER", "MADE_UP"]), max_size=2))
    return {
        "text": TEXT,
        "gold": spans(),
        "predicted": [[*span, None] for span in spans()],
        "invented": [{"text": "Rome", "label": label} for label in invented],
        "parse_failure": draw(st.booleans()),
    }


def tally(some: list[dict[str, Any]]) -> EntityTally:
    return sum(map(tally_entities, some), EntityTally())


def numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    else:
        yield value


def test_every_score_by_hand() -> None:
    metrics = entity_metrics_of([ROW, EMPTY_ROW], LABELS, resamples=0, seed=0)
    assert metrics.pop("per_label").keys() == set(LABELS)
    nervaluate = metrics.pop("nervaluate")
    assert metrics == {
        "entity_f1": 2 / 6,
        "entity_precision": 1 / 3,
        "entity_recall": 1 / 3,
        "entity_macro_precision": 0.5,
        "entity_macro_recall": 0.25,
        "entity_macro_f1": (2 / 3 + 0) / 2,
        "num_examples": 2,
        "num_gold": 3,
        "num_predicted": 3,
        "num_correct": 1,
        "parse_failure_rate": 0.5,
        "unaligned_rate": 1 / 3,
        "entity_f1_aligned_only": 2 / 5,
        "lenient_precision": 2 / 3,
        "lenient_recall": 2 / 3,
        "lenient_f1": 2 / 3,
        "lenient_macro_f1": 2 / 3,
        "surface_macro_f1": (2 / 3 + 0) / 2,
    }
    assert nervaluate["partial"] == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "correct": 1,
        "incorrect": 0,
        "partial": 1,
        "missed": 1,
        "spurious": 1,
    }


def test_an_invented_entity_whose_characters_are_a_gold_entity_is_right_on_the_surface_only() -> None:
    again = ROW | {"predicted": [], "invented": [{"text": "Paul", "label": "PER"}]}
    metrics = entity_metrics_of([again], LABELS, resamples=0, seed=0)
    assert metrics["entity_f1"] == metrics["lenient_f1"] == 0.0
    assert metrics["surface_macro_f1"] == (2 / 3 + 0) / 2


def test_intervals_hold_their_score_and_are_left_out_without_resamples() -> None:
    some = [ROW, EMPTY_ROW, ROW | {"predicted": []}] * 5
    metrics = entity_metrics_of(iter(some), LABELS, resamples=200, seed=1)
    assert list(metrics["confidence_intervals"]) == [
        *(f"entity_{name}" for name in ("precision", "recall", "f1")),
        *(f"lenient_{name}" for name in ("precision", "recall", "f1")),
    ]
    for name, (low, high) in metrics["confidence_intervals"].items():
        assert 0 <= low < metrics[name] < high <= 1
    assert "confidence_intervals" not in entity_metrics_of(some, LABELS, resamples=0, seed=1)


def test_the_same_seed_gives_the_same_intervals() -> None:
    some = [ROW, EMPTY_ROW, ROW | {"predicted": []}] * 5
    first, again, other = (entity_metrics_of(some, LABELS, resamples=50, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_no_rows_score_zero() -> None:
    metrics = entity_metrics_of([], LABELS, resamples=10, seed=0)
    assert set(numbers(metrics)) == {0}
    assert list(metrics["per_label"]) == list(LABELS)


@given(st.lists(rows(), max_size=6))
@settings(max_examples=50)
def test_every_score_is_a_finite_number_that_json_can_hold(some: list[dict[str, Any]]) -> None:
    metrics = entity_metrics_of(some, LABELS, resamples=5, seed=0)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert all(type(value) in (int, float) and math.isfinite(value) for value in numbers(metrics))


@given(st.lists(rows(), max_size=6), st.integers(1, 3))
@settings(max_examples=50)
def test_counts_of_shards_in_any_order_add_up_to_the_whole(
    some: list[dict[str, Any]], num_shards: int
) -> None:
    shards = [tally(some[rank::num_shards]) for rank in range(num_shards)]
    merged = sum(reversed(shards), EntityTally()).metrics(LABELS)
    assert merged == tally(some).metrics(LABELS)
    assert merged == entity_metrics_of(some, LABELS, resamples=0, seed=0)


@given(st.lists(rows(), max_size=4))
@settings(max_examples=50)
def test_repeating_every_span_changes_nothing(some: list[dict[str, Any]]) -> None:
    doubled = [row | {"gold": row["gold"] * 2, "predicted": row["predicted"] * 2} for row in some]
    assert tally(doubled) == tally(some)


@given(st.lists(rows(), max_size=4))
@settings(max_examples=50)
def test_strict_scores_are_those_of_the_strict_counts(some: list[dict[str, Any]]) -> None:
    counts = tally(some)
    strict = entity_metrics(counts.strict, LABELS)
    assert strict.items() <= counts.metrics(LABELS).items()
    assert counts.metrics(LABELS)["lenient_f1"] >= strict["entity_f1"]


def test_an_interval_belongs_to_the_score_of_its_name() -> None:
    row = ROW | {"invented": []}
    metrics = entity_metrics_of([row], LABELS, resamples=3, seed=0)
    for name, interval in metrics["confidence_intervals"].items():
        assert interval == pytest.approx([metrics[name]] * 2)

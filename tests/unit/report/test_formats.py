"""How numbers, durations and instants are written."""

import pytest

from rankfold.known_metrics import METRICS
from rankfold.report.formats import (
    format_change,
    format_count,
    format_instant,
    format_interval,
    format_metric,
    format_seconds,
)


def test_entity_scores_have_three_decimals_and_answer_scores_two() -> None:
    assert format_metric(METRICS["entity_f1"], 0.12345) == "0.123"
    assert format_metric(METRICS["exact_match"], 81.2) == "81.20"
    assert format_metric(METRICS["num_gold"], 12_345) == "12,345"


def test_a_threshold_beyond_every_score_is_written_short() -> None:
    largest = 3.4028234663852886e38
    assert format_metric(METRICS["best_f1_thresh"], largest) == "3.403e+38"
    assert format_change(METRICS["best_f1_thresh"], 0.0, largest) == "+3.403e+38"
    assert format_metric(METRICS["best_f1_thresh"], -1.25) == "−1.2500"


def test_an_interval_is_written_as_its_score_is_with_a_decimal_less() -> None:
    assert format_interval(METRICS["entity_f1"], (0.6149, 0.8)) == "0.61–0.80"
    assert format_interval(METRICS["perplexity"], (2210.04, 1e300)) == "2,210.0–1e+300"
    assert format_interval(METRICS["total"], None) == ""


@pytest.mark.parametrize("value", [None])
def test_what_is_absent_is_said_to_be(value: None) -> None:
    shown = (format_metric(METRICS["f1"], value), format_count(value), format_seconds(value))
    assert shown == ("n/a", "n/a", "n/a")
    assert format_change(METRICS["f1"], value, 1.0) == format_change(METRICS["f1"], 1.0, value) == "n/a"


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (0.5, 0.75, "+0.250"),
        (0.75, 0.5, "−0.250"),
        (0.5, 0.5, "0.000"),
        (0.5, 0.5004, "0.000"),
        (0.5004, 0.5, "0.000"),
    ],
)
def test_a_change_has_a_sign_unless_it_rounds_to_nothing(before: float, after: float, shown: str) -> None:
    assert format_change(METRICS["entity_f1"], before, after) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (252, "4 min 12 s"),
        (3_599.9, "1 h 00 min"),
        (7_500, "2 h 05 min"),
    ],
)
def test_a_duration_shows_the_units_that_matter(seconds: float, shown: str) -> None:
    assert format_seconds(seconds) == shown


@pytest.mark.parametrize("iso", ["2026-01-31T09:05:59Z", "2026-01-31T10:05:00+01:00", "2026-01-31T09:05:00"])
def test_an_instant_is_shown_in_utc(iso: str) -> None:
    assert format_instant(iso) == "2026-01-31 09:05 UTC"

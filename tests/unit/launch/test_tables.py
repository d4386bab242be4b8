"""Aligned text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.tables import duration, shortened, speed, table, width

cells = st.text(st.characters(exclude_categories=["C", "M", "Z"]), max_size=8)


@given(st.lists(st.tuples(cells, cells), max_size=5))
def test_the_second_column_starts_at_the_same_place_in_every_row(rows: list[tuple[str, str]]) -> None:
    wide = max(width(first) for first, _ in [("name", ""), *rows])
    for line, (first, second) in zip(table(("name", "值"), [*rows])[1:], rows, strict=True):
        assert line == (first + " " * (wide - width(first) + 2) + second).rstrip()


def test_chinese_takes_two_columns_and_numbers_stand_right() -> None:
    assert table(("地点", "n"), [("a", "1"), ("北京市", "10")], right=("n",)) == [
        "地点     n",
        "a        1",
        "北京市  10",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(None, "–"), (7.9, "0:07"), (96, "1:36"), (10930, "3:02:10")])
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_speed_is_said_whichever_way_round_reads_better() -> None:
    assert speed(2.94, "step") == "2.9 s/step"
    assert speed(0.0704, "step") == "14.2 steps/s"


def test_what_is_cut_off_is_marked() -> None:
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abcd", 4) == "abcd"

"""The occurrence nearest to an offset."""

from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.locate import nearest_occurrence


def test_an_offset_that_is_right_is_kept() -> None:
    assert nearest_occurrence("aba aba", "aba", 4) == 4


def test_of_two_equally_near_the_earlier_is_taken() -> None:
    assert nearest_occurrence("x..x", "x", 1) == 0
    assert nearest_occurrence("x...x", "x", 2) == 0


@given(
    text=st.text("ab", max_size=12),
    part=st.text("ab", min_size=1, max_size=3),
    position=st.integers(-3, 15),
    lowest=st.integers(0, 12),
)
def test_it_finds_what_trying_every_place_finds(text: str, part: str, position: int, lowest: int) -> None:
    places = [start for start in range(lowest, len(text)) if text.startswith(part, start)]
    expected = min(places, key=lambda start: (abs(start - position), start), default=None)
    assert nearest_occurrence(text, part, position, lowest=lowest) == expected

"""The geometry of the loss curve."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.report.loss_curve import BOTTOM, HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, loss_curve

losses = st.lists(
    st.tuples(st.integers(1, 10**6), st.floats(0, 1e4, allow_nan=False)), min_size=1, max_size=30
).map(sorted)


@given(losses)
def test_every_point_and_tick_lies_inside_the_axes(found: list[tuple[int, float]]) -> None:
    curve = loss_curve(found)
    assert curve is not None
    for x, y in curve.points:
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP <= y <= HEIGHT - BOTTOM
    assert all(LEFT <= tick.at <= WIDTH - RIGHT for tick in curve.x_ticks)
    assert all(TOP <= tick.at <= HEIGHT - BOTTOM for tick in curve.y_ticks)


@given(losses)
def test_ticks_are_few_and_all_different(found: list[tuple[int, float]]) -> None:
    curve = loss_curve(found)
    assert curve is not None
    for ticks in (curve.x_ticks, curve.y_ticks):
        assert 2 <= len(ticks) <= 8
        assert len({tick.label for tick in ticks}) == len(ticks)


def test_ticks_are_round_numbers() -> None:
    curve = loss_curve([(10, 2.1), (1_280, 0.3)])
    assert curve is not None
    assert [tick.label for tick in curve.y_ticks] == ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]
    assert [tick.label for tick in curve.x_ticks][:3] == ["0", "200", "400"]


def test_a_lower_loss_is_drawn_lower() -> None:
    curve = loss_curve([(1, 2.0), (2, 1.0)])
    assert curve is not None
    assert curve.points[0][1] < curve.points[1][1]


def test_a_long_history_is_thinned_but_keeps_both_ends() -> None:
    history = [(step, 1.0 / step) for step in range(1, 10_001)]
    curve = loss_curve(history)
    assert curve is not None
    assert len(curve.points) <= MAX_POINTS + 1
    assert (curve.first, curve.last) == (history[0], history[-1])
    assert curve.points[-1][0] == WIDTH - RIGHT


@pytest.mark.parametrize("history", [[(5, 1.5)], [(1, 0.0), (2, 0.0)], [(1, 5e-324)]])
def test_one_point_or_a_loss_of_zero_still_makes_a_curve(history: list[tuple[int, float]]) -> None:
    curve = loss_curve(history)
    assert curve is not None
    assert len(curve.points) == len(history)


def test_no_loss_makes_no_curve() -> None:
    assert loss_curve([]) is None

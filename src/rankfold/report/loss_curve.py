"""The geometry of the loss curve: points and ticks in the coordinates of the drawing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 440, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 42
"""Margins: room for the tick labels and the axes' names."""

MAX_POINTS = 400
"""More points than this lie closer together than a line is wide."""

SMALLEST = 1e-6
"""A loss that never rises above this is drawn as zero: its ticks would be nothing but decimals."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis; `at` is its x or its y."""

    at: float
    label: str


@dataclass(frozen=True)
class LossCurve:
    """A polyline with its axes; `first` and `last` are (step, loss) as logged."""

    points: tuple[tuple[float, float], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    first: tuple[int, float]
    last: tuple[int, float]


def loss_curve(losses: Sequence[tuple[int, float]]) -> LossCurve | None:
    """Lay (step, loss) pairs out in WIDTH × HEIGHT; None where no loss was logged.

    Both axes begin at zero, so that the height of the curve is the loss and not its noise.
    """
    if not losses:
        return None
    x_max = max(1, *(step for step, _ in losses))
    highest = max(loss for _, loss in losses)
    x_step = max(1.0, _tick_step(x_max))
    y_step = _tick_step(highest)
    y_max = max(1, math.ceil(highest / y_step - 1e-9)) * y_step
    y_decimals = max(0, -math.floor(math.log10(y_step) + 1e-9))

    def x(step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / x_max, 1)

    def y(loss: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * loss / y_max, 1)

    return LossCurve(
        points=tuple((x(step), y(loss)) for step, loss in _thinned(losses)),
        x_ticks=tuple(Tick(x(value), f"{value:,.0f}") for value in _multiples(x_step, x_max)),
        y_ticks=tuple(Tick(y(value), f"{value:.{y_decimals}f}") for value in _multiples(y_step, y_max)),
        first=losses[0],
        last=losses[-1],
    )


def _tick_step(largest: float) -> float:
    """A step of 1, 2 or 5 × 10ⁿ that gives about four ticks."""
    if largest < SMALLEST:
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest / 4))
    return min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(step - largest / 4))


def _multiples(step: float, largest: float) -> list[float]:
    return [step * index for index in range(math.floor(largest / step + 1e-9) + 1)]


def _thinned(losses: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Evenly spaced points, always with the last one."""
    stride = math.ceil(len(losses) / MAX_POINTS)
    return [*losses[:-1:stride], losses[-1]]

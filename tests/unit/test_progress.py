import json
import types
from pathlib import Path
from typing import Any

import pytest

from rankfold.progress import Progress


class Clock:
    """Seconds that pass only when a test says so."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("rankfold.progress.time", types.SimpleNamespace(monotonic=clock.monotonic))
    return clock


def started(tmp_path: Path, *, total: int = 10, first: int = 0) -> Progress:
    return Progress(tmp_path / "progress.json", "train", "step", total, first=first, _started=Clock.now)


def written(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "progress.json").read_text())
    return content


def test_the_time_left_follows_from_the_time_taken(tmp_path: Path, clock: Clock) -> None:
    clock.now += 8.0
    started(tmp_path).update(4, loss=1.5)
    progress = written(tmp_path)
    assert (progress["step"], progress["total"], progress["loss"]) == (4, 10, 1.5)
    assert (progress["seconds_per_step"], progress["seconds_left"]) == (2.0, 12.0)
    assert set(progress) == {
        *("stage", "step", "total", "unit", "loss", "seconds_per_step", "tokens_per_second"),
        *("seconds_left", "updated"),
    }


def test_before_the_first_step_nothing_is_known_of_the_time(tmp_path: Path, clock: Clock) -> None:
    started(tmp_path).update(0)
    assert written(tmp_path)["seconds_left"] is None


def test_steps_of_an_earlier_attempt_took_none_of_this_one_s_time(tmp_path: Path, clock: Clock) -> None:
    progress = started(tmp_path, total=1000, first=900)
    progress.update(900)
    assert written(tmp_path)["seconds_left"] is None
    clock.now += 20.0
    progress.update(910)
    assert written(tmp_path)["seconds_left"] == 180.0


def test_the_file_is_written_once_a_second_at_most(tmp_path: Path, clock: Clock) -> None:
    progress = started(tmp_path)
    for step, seconds in ((1, 0.4), (2, 0.4), (3, 0.4)):
        progress.update(step)
        clock.now += seconds
    assert written(tmp_path)["step"] == 1
    progress.update(4)
    assert written(tmp_path)["step"] == 4


def test_the_last_step_is_written_however_soon_it_comes(tmp_path: Path, clock: Clock) -> None:
    progress = started(tmp_path)
    progress.update(9)
    progress.update(10)
    assert written(tmp_path)["step"] == 10
    assert written(tmp_path)["seconds_left"] == 0.0

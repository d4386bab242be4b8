"""Telling whoever watches a run how far a job has come."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rankfold import atomic

SECONDS_BETWEEN_WRITES = 1.0


@dataclass
class Progress:
    """Writes `progress.json` of a job, at most once a second and always at the end.

    Attributes:
        first: Steps that were done before this process began; they took none of its time.
    """

    path: Path
    stage: str
    unit: Literal["step", "window", "text", "example"]
    total: int
    first: int = 0
    _started: float = field(default_factory=time.monotonic)
    _written: float = 0.0

    def update(self, step: int, loss: float | None = None, *, tokens_per_second: float | None = None) -> None:
        """Say that `step` of `total` are done."""
        now = time.monotonic()
        if now - self._written < SECONDS_BETWEEN_WRITES and step < self.total:
            return
        self._written = now
        done = step - self.first
        seconds_per_step = (now - self._started) / done if done else None
        atomic.write_json(
            self.path,
            {
                "stage": self.stage,
                "step": step,
                "total": self.total,
                "unit": self.unit,
                "loss": loss,
                "seconds_per_step": seconds_per_step,
                "tokens_per_second": tokens_per_second,
                "seconds_left": seconds_per_step and seconds_per_step * (self.total - step),
                "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )

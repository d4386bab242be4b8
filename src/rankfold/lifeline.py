"""What ties a stage to whoever watches its rank: signs of life one way, the wish to stop the other."""

from __future__ import annotations

import faulthandler
from typing import TextIO


class Lifeline:
    """A stage calls `beat` whenever it got somewhere, and stops where `stop_reason` is set.

    If no beat comes for `timeout_s` seconds, every thread's stack is written to `stacks` and the process ends
    with exit code 1. faulthandler does it from a thread of its own that needs no lock of the interpreter, so
    a collective that hangs in native code cannot hold it up.

    Args:
        timeout_s: Longest time between two beats; None never ends the process.
        stacks: A file with a descriptor, which must stay open.
    """

    def __init__(self, timeout_s: float | None = None, stacks: TextIO | None = None) -> None:
        self._timeout_s = timeout_s
        self._stacks = stacks
        self._stop_reason: str | None = None

    @property
    def stop_reason(self) -> str | None:
        """Why this rank was asked to stop at its next safe point; None while it may go on."""
        return self._stop_reason

    def ask_to_stop(self, reason: str) -> None:
        """Ask the stage to stop; safe to call from another thread. The first reason stays."""
        self._stop_reason = self._stop_reason or reason

    def beat(self) -> None:
        """Say that the stage got on."""
        if self._timeout_s is not None and self._stacks is not None:
            faulthandler.dump_traceback_later(self._timeout_s, exit=True, file=self._stacks)

    def end(self) -> None:
        """No beat is awaited any more."""
        if self._timeout_s is not None:
            faulthandler.cancel_dump_traceback_later()

"""Tokenising a piece of a data set after the other, in as many processes as there are cores for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, TypeAlias

from rankfold.data.examples import Example
from rankfold.errors import OperationalError
from rankfold.recipe.schema import Recipe

if TYPE_CHECKING:
    from rankfold.data.features import Features

PIECE = 1000
"""Examples in a piece: the same for any number of processes, so that features do not depend on it."""

PATIENCE_S = 20.0
"""Seconds of tokenising after which others help: about what each needs to import transformers."""

PIECES_AHEAD = 2
"""Pieces a process may be ahead of the writer, which bounds memory."""

Tokenise: TypeAlias = "Callable[[Sequence[Example]], Features]"
Piece: TypeAlias = "tuple[list[Example], Features]"


@dataclass
class Tokeniser:
    """Turns examples into pieces with their features, in order; to be used in a `with` block.

    This process begins alone, and where the examples are few it is done before `num_processes` others could
    help. Only so many pieces are in memory as are worked on.

    Attributes:
        load: Gives another process what it makes features with; can be pickled.
        alone: What this process makes features with.
        piece_size: Examples in a piece.
        patience_s: Seconds of work after which others help.
    """

    load: Callable[[], Tokenise]
    alone: Tokenise
    num_processes: int
    piece_size: int = PIECE
    patience_s: float = PATIENCE_S
    _pool: ProcessPoolExecutor | None = None
    _seconds_alone: float = 0.0

    def __enter__(self) -> Tokeniser:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def pieces_of(self, examples: Iterable[Example]) -> Iterator[Piece]:
        """Yield each piece with its features.

        Raises:
            DataError, ModelError: As the task's `training_features`.
            OperationalError: A process was killed.
        """
        pieces = divide(examples, self.piece_size)
        for piece in pieces:
            if self._pool is None and self.num_processes > 1 and self._seconds_alone >= self.patience_s:
                self._pool = _start(self.load, self.num_processes)
            if self._pool is not None:
                yield from self._shared(self._pool, chain([piece], pieces))
                return
            started = time.monotonic()
            features = self.alone(piece)
            self._seconds_alone += time.monotonic() - started
            yield piece, features

    def _shared(self, pool: ProcessPoolExecutor, pieces: Iterator[list[Example]]) -> Iterator[Piece]:
        waiting: deque[tuple[list[Example], Future[Features]]] = deque()
        try:
            for piece in pieces:
                waiting.append((piece, pool.submit(_tokenise, piece)))
                if len(waiting) >= PIECES_AHEAD * self.num_processes:
                    oldest, features = waiting.popleft()
                    yield oldest, features.result()
            for oldest, features in waiting:
                yield oldest, features.result()
        except BrokenProcessPool as error:
            raise OperationalError(
                "a process that tokenises was killed, most likely for want of memory",
                where="data.num_proc",
                remedy="Give the prepare stage more memory, or lower data.num_proc.",
            ) from error


def divide(examples: Iterable[Example], size: int = PIECE) -> Iterator[list[Example]]:
    """Yield the examples in pieces of `size`; the last may be smaller."""
    rest = iter(examples)
    while piece := list(islice(rest, size)):
        yield piece


def num_processes(recipe: Recipe) -> int:
    """How many processes tokenise: as the recipe says, else a core each."""
    if recipe.data.num_proc is not None:
        return recipe.data.num_proc
    here = len(os.sched_getaffinity(0))
    return min(recipe.resources.prepare.cpus_per_task or here, here)


def _start(load: Callable[[], Tokenise], number: int) -> ProcessPoolExecutor:
    # A forked process would hold locks of threads that it does not have: those of tokenizers and torch.
    return ProcessPoolExecutor(
        number,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(load,),
    )


_own_tokenise: Tokenise | None = None
"""In a process of the pool, what it makes features with."""


def _begin(load: Callable[[], Tokenise]) -> None:
    global _own_tokenise
    # The parent hears an interrupt; a parent that was killed says nothing any more.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Each process is one of many: threads of its own would be too many.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _own_tokenise = load()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _tokenise(examples: list[Example]) -> Features:
    if _own_tokenise is None:
        raise RuntimeError("this process was not begun")
    return _own_tokenise(examples)

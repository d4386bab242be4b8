"""Compiling the loops over logits, once for all jobs where that is possible."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba
from numba.extending import register_jitable

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile `function` at its first call; it runs without the GIL, and its machine code is kept on disk.

    The code lies beside the source or, in a read-only installation, in the user's cache folder
    (NUMBA_CACHE_DIR names another). Never with `fastmath`, and on one thread: floats are added in the order
    that is written down. Numba compiles again when the file that holds `function` changes, but not when
    another file does that it calls into or takes a constant from: only what will hardly change, the order and
    the fields of records, is shared across files.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # "No locator available": neither folder can be written, and numba has no way to ask beforehand.
        # Each job then compiles for itself, which takes about a second.
        compiled = numba.njit(nogil=True)(function)
    return cast(Function, compiled)


def also_in_kernels(function: Function) -> Function:
    """Let kernels call `function`, which stays the plain Python function that it is for everyone else."""
    return cast(Function, register_jitable(function))

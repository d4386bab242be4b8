"""Settings that do not go together, as the checks report them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Conflict:
    """Settings that do not go together.

    Args:
        keys: The dotted keys involved; the error points to the first one that the recipe spells out.
        message: What is wrong with both values, and what to do.
    """

    keys: tuple[str, ...]
    message: str

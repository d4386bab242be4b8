"""Finding again what an annotation's offsets miss."""


def nearest_occurrence(text: str, part: str, position: int, *, lowest: int = 0) -> int | None:
    """Return where `part` occurs nearest to `position`, at `lowest` or after; None if nowhere.

    Of two that are equally near, the earlier one.
    """
    position = max(position, lowest)
    before = text.rfind(part, lowest, position + len(part))
    after = text.find(part, position)
    if before < 0 or after < 0:
        return None if before == after else max(before, after)
    return before if position - before <= after - position else after

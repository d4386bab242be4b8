"""A merge of spans instead of records, right unless it is told to make one of three mistakes."""

from dataclasses import dataclass

from plain_nbest import Answer

from . import oracle
from .cases import Sharding
from .oracle import Case


@dataclass(frozen=True)
class Flaw:
    """The mistakes: duplicates counted, ties broken by arrival, answers before the last merge."""

    keeps_duplicates: bool = False
    breaks_ties_by_arrival: bool = False
    finalises_early: bool = False


def flawed_answers(case: Case, sharding: Sharding, flaw: Flaw) -> list[Answer]:
    if flaw.finalises_early:
        return _best_of_early_answers(case, sharding)
    rows = [row for unit in sharding.arrivals for row in unit]
    if not flaw.keeps_duplicates:
        rows = list(dict.fromkeys(rows))
    if not flaw.breaks_ties_by_arrival:
        rows.sort()
    return [_answer(case, example, rows) for example in range(len(case.contexts))]


def _answer(case: Case, example: int, rows: list[int]) -> Answer:
    return oracle.answer(
        case, example, [case.windows[row] for row in rows if case.windows[row].example == example]
    )


def _best_of_early_answers(case: Case, sharding: Sharding) -> list[Answer]:
    """Each distinct unit answers by itself; the surest answer wins."""
    units = sorted({tuple(sorted(unit)) for unit in sharding.arrivals})
    return [
        max(
            (_answer(case, example, list(unit)) for unit in units),
            key=lambda answer: float(answer["probability"]),
        )
        for example in range(len(case.contexts))
    ]

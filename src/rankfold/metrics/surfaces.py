"""CLUENER's scores: right means that the text has an entity of that label with those characters.

Xu et al. 2020, arXiv:2001.04351, and the script beside the data set: the entities of a text are, for each
label, the set of their surface strings, wherever they stand and however often; the score is the mean of
the F1 of the labels. The script divides by zero where a label is never predicted; here its F1 is 0.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from rankfold.metrics.counts import LabelCounts


class Surface(NamedTuple):
    """An entity without its place: its label and its characters."""

    label: str
    text: str


def count_surfaces(gold: Iterable[Surface], predicted: Iterable[Surface]) -> LabelCounts:
    """Count one text; what is given twice counts once, on either side."""
    gold_set, predicted_set = frozenset(gold), frozenset(predicted)
    return LabelCounts(
        gold=Counter(surface.label for surface in gold_set),
        predicted=Counter(surface.label for surface in predicted_set),
        correct=Counter(surface.label for surface in gold_set & predicted_set),
    )

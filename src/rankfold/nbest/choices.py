"""Labels, or choices, by how probable a model finds them: the same bits on every machine."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rankfold.nbest.softmax import softmax


class Ranked(NamedTuple):
    """What a row's logits come to, best first; equal logits stand in the order of the labels.

    `order` holds places in the row, `probabilities` (0..1) belongs to `order`.
    """

    order: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]


def rank_one_of(logits: npt.NDArray[np.float32]) -> Ranked:
    """One of them is right: softmax, in float64, over the row."""
    order = np.argsort(-logits, kind="stable")
    probabilities = np.empty(len(logits))
    softmax(logits[order].astype(np.float64), np.array([0, len(logits)]), probabilities)
    return Ranked(order, probabilities)


def rank_any_of(logits: npt.NDArray[np.float32]) -> Ranked:
    """Each of them may be right: a sigmoid, in float64, of each logit."""
    order = np.argsort(-logits, kind="stable")
    scores = logits[order].astype(np.float64)
    # The sigmoid of x is the softmax of x and 0, whose greater one comes first.
    pairs = np.stack([np.maximum(scores, 0), np.minimum(scores, 0)], axis=1)
    probabilities = np.empty(2 * len(scores))
    softmax(pairs.reshape(-1), np.arange(0, 2 * len(scores) + 1, 2), probabilities)
    greater, less = probabilities.reshape(-1, 2).T
    return Ranked(order, np.where(scores > 0, greater, less))

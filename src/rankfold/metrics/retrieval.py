"""Scores of text embeddings: finding what belongs together, and agreeing with given scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rankfold.metrics.bootstrap import percentile_interval, resampled_sums
from rankfold.metrics.counts import ratio

Vectors = npt.NDArray[np.float32]

CUTOFFS = (1, 5, 10)
"""Ranks down to which recall is counted; the last one is MRR's and nDCG's too."""

SCORES_AT_A_TIME = 2**22
"""Similarities in memory at once: 16 MiB."""

DOCUMENTS_AT_A_TIME = 2**13
"""Documents in float64 at once."""


@dataclass(frozen=True)
class RetrievalScores:
    """One number a query, float64 (num_queries,), by the name of its mean."""

    by_name: Mapping[str, npt.NDArray[np.float64]]

    def metrics(self) -> dict[str, float]:
        """The mean of each score over all queries; 0.0 where there are none."""
        return {name: ratio(math.fsum(values), len(values)) for name, values in self.by_name.items()}

    def confidence_intervals(self, *, resamples: int, seed: int) -> dict[str, list[float]]:
        """The 95 % percentile interval of each mean, over resampled queries."""
        columns = list(self.by_name.values())
        *sums, counts = resampled_sums([*columns, np.ones(len(columns[0]))], resamples=resamples, seed=seed)
        return {
            name: list(percentile_interval(found, counts))
            for name, found in zip(self.by_name, sums, strict=True)
        }


def retrieval_scores(
    queries: Vectors, documents: Vectors, relevant: Sequence[Sequence[int]]
) -> RetrievalScores:
    """Rank all documents for each query, and score where the relevant ones stand.

    Recall, MRR and nDCG at a cutoff with binary relevance, as trec_eval and BEIR (Thakur et al. 2021) define
    them. Of equally similar documents the one that comes first in `documents` ranks first.

    Args:
        queries: float32 (num_queries, width), of length 1.
        documents: float32 (num_documents, width), of length 1.
        relevant: For each query the places of its relevant documents: at least one, each once.
    """
    names = [
        *(f"recall_at_{cutoff}" for cutoff in CUTOFFS),
        f"mrr_at_{CUTOFFS[-1]}",
        f"ndcg_at_{CUTOFFS[-1]}",
    ]
    rows = [_scores_of(ranks) for ranks in relevant_ranks(queries, documents, relevant)]
    table = np.array(rows, dtype=np.float64).reshape(-1, len(names))
    return RetrievalScores(dict(zip(names, table.T, strict=True)))


def relevant_ranks(
    queries: Vectors, documents: Vectors, relevant: Sequence[Sequence[int]]
) -> list[list[int]]:
    """The ranks of each query's relevant documents, from 1, ascending; arguments as `retrieval_scores`."""
    found: list[list[int]] = []
    places = np.arange(len(documents))
    block = max(1, SCORES_AT_A_TIME // max(1, len(documents)))
    for start in range(0, len(queries), block):
        similarities = _similarities(queries[start : start + block], documents)
        for row, wanted in zip(similarities, relevant[start : start + block], strict=True):
            ahead = [(row > row[place]) | ((row == row[place]) & (places < place)) for place in wanted]
            found.append(sorted(1 + int(np.count_nonzero(each)) for each in ahead))
    return found


def _similarities(queries: Vectors, documents: Vectors) -> Vectors:
    """Cosines, float32 (num_queries, num_documents).

    Summed in float64: in float32, equal documents would differ by where they stand in a block.
    """
    similarities = np.empty((len(queries), len(documents)), dtype=np.float32)
    wide = queries.astype(np.float64)
    for start in range(0, len(documents), DOCUMENTS_AT_A_TIME):
        stop = start + DOCUMENTS_AT_A_TIME
        similarities[:, start:stop] = wide @ documents[start:stop].astype(np.float64).T
    return similarities


def _scores_of(ranks: Sequence[int]) -> list[float]:
    """Recall at each cutoff, reciprocal rank and nDCG of one query, whose relevant documents have `ranks`."""
    last = CUTOFFS[-1]
    recalls = [sum(rank <= cutoff for rank in ranks) / len(ranks) for cutoff in CUTOFFS]
    gained = sum(1 / math.log2(rank + 1) for rank in ranks if rank <= last)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(ranks), last) + 1))
    return [*recalls, 1 / ranks[0] if ranks[0] <= last else 0.0, gained / ideal]


def pearson(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return Pearson's correlation of two lists of numbers, -1..1; 0.0 where one of them is constant."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    one, other = one - one.mean(), other - other.mean()
    norms = math.sqrt(math.fsum(one**2)) * math.sqrt(math.fsum(other**2))
    return max(-1.0, min(1.0, ratio(math.fsum(one * other), norms)))


def spearman(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return Spearman's rank correlation, -1..1; equal numbers share the mean of their ranks."""
    return pearson(_mean_ranks(first), _mean_ranks(second))


def _mean_ranks(numbers: npt.ArrayLike) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(np.asarray(numbers), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = ((last - counts + 1 + last) / 2)[place]
    return ranks

"""From the vectors of pairs to their lines in the results, and from these to the scores of a data set."""

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rankfold.data.examples import TextPairExample
from rankfold.metrics.retrieval import RetrievalScores, Vectors, pearson, retrieval_scores, spearman

VECTOR = "<f4"
"""A vector's numbers in bytes: float32, little-endian."""


def texts_of(example: TextPairExample) -> tuple[str, ...]:
    """Anchor, positive where there is one, negatives."""
    return (example.text, *(() if example.positive is None else (example.positive,)), *example.negatives)


@dataclass(frozen=True)
class EmbeddedPair:
    """An example, and the vectors of `texts_of` it, bytes as `VECTOR` says."""

    example: TextPairExample
    vectors: Sequence[bytes]

    @cached_property
    def similarities(self) -> list[float]:
        """The cosine, -1..1, of the anchor and each of the other texts."""
        anchor, *others = [np.frombuffer(vector, dtype=VECTOR).astype(np.float64) for vector in self.vectors]
        return [float(np.clip(np.sum(anchor * other), -1, 1)) for other in others]

    @property
    def cosine(self) -> float | None:
        """How close the pair is; None where there is no second text."""
        return None if self.example.positive is None else self.similarities[0]

    @property
    def prediction(self) -> float | list[float]:
        """How close the pair is; of a text by itself its vector."""
        if self.cosine is not None:
            return self.cosine
        vector: list[float] = np.frombuffer(self.vectors[0], dtype=VECTOR).tolist()
        return vector

    @property
    def nbest(self) -> dict[str, Any]:
        """The line of `nbest.jsonl`: the example's own other texts, the closest first.

        Those of other examples are candidates too, but a range of examples does not show them.
        """
        others = zip(texts_of(self.example)[1:], self.similarities, strict=True)
        rows: list[dict[str, Any]] = [
            {"text": text, "score": score, "positive": place == 0 and self.example.positive is not None}
            for place, (text, score) in enumerate(others)
        ]
        return {"id": self.example.id, "nbest": sorted(rows, key=lambda row: -row["score"])}

    @property
    def details(self) -> dict[str, Any]:
        """The line of `details.jsonl`; the vectors of pairs to be retrieved, in base64, are among it."""
        example, cosine = self.example, self.cosine
        shared = {"id": example.id, "gold_score": example.score, "cosine": cosine}
        if cosine is None or example.positive is None:
            return {**shared, "text": example.text, "gold": "", "predicted": "", "score": None}
        if example.score is not None:
            return {
                **shared,
                "text": f"{example.text}\n{example.positive}",
                "gold": f"{example.score:.3f}",
                "predicted": f"{cosine:.3f}",
                "score": 1 - abs(cosine - example.score) / 2,
            }
        closest = max(zip(self.similarities, texts_of(example)[1:], strict=True), key=lambda each: each[0])
        return {
            **shared,
            "text": example.text,
            "gold": example.positive,
            "predicted": closest[1],
            "score": max(0.0, cosine),
            "vectors": [base64.b64encode(vector).decode() for vector in self.vectors[:2]],
        }


def embedding_metrics_of(
    details: Iterable[Mapping[str, Any]], *, resamples: int = 0, seed: int = 0
) -> dict[str, Any]:
    """Score a data set from all lines of its details, in order.

    Pairs without a score are a task of retrieval: every anchor is a query, every second text a document.
    Equal texts are one, with the vector of the first, so a query may have several relevant documents. Pairs
    with a score give correlations, which are None where all have the same score: it orders nothing.

    Args:
        resamples: Resamples behind the intervals; 0 leaves them out.
        seed: Seed of the resamples.
    """
    pool, num_examples = _Pool(), 0
    golds: list[float] = []
    cosines: list[float] = []
    for row in details:
        num_examples += 1
        if row["gold_score"] is not None:
            golds.append(row["gold_score"])
            cosines.append(row["cosine"])
        elif row["cosine"] is not None:
            pool.add(row)
    found: dict[str, Any] = {}
    if pool.queries:
        scores = pool.scores()
        found |= scores.metrics() | {"num_queries": len(pool.queries), "num_documents": len(pool.documents)}
        if resamples:
            found["confidence_intervals"] = scores.confidence_intervals(resamples=resamples, seed=seed)
    if golds:
        orders = len(set(golds)) > 1
        found["spearman_cosine"] = spearman(cosines, golds) if orders else None
        found["pearson_cosine"] = pearson(cosines, golds) if orders else None
    return {**found, "num_examples": num_examples}


class _Pool:
    """Distinct queries and documents of a data set, and which belong together."""

    def __init__(self) -> None:
        self.queries: dict[str, Vectors] = {}
        self.documents: dict[str, Vectors] = {}
        self._relevant: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, row: Mapping[str, Any]) -> None:
        query, document = (np.frombuffer(base64.b64decode(each), dtype=VECTOR) for each in row["vectors"])
        self.queries.setdefault(row["text"], query)
        self.documents.setdefault(row["gold"], document)
        self._relevant[row["text"]].add(row["gold"])

    def scores(self) -> RetrievalScores:
        places = {text: place for place, text in enumerate(self.documents)}
        return retrieval_scores(
            np.stack(list(self.queries.values())),
            np.stack(list(self.documents.values())),
            [sorted(places[text] for text in self._relevant[query]) for query in self.queries],
        )

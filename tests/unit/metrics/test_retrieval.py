import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from rankfold.metrics import retrieval
from rankfold.metrics.retrieval import Vectors, pearson, relevant_ranks, retrieval_scores, spearman


def normalised(rows: Sequence[Sequence[float]]) -> Vectors:
    vectors = np.array(rows, dtype=np.float32)
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def directions(count: int, seed: int) -> Vectors:
    """Vectors on a coarse grid, so that many are equal and many are equally far."""
    return normalised(np.random.default_rng(seed).integers(1, 4, size=(count, 3)).tolist())


def ranked(query: Vectors, documents: Vectors) -> list[int]:
    """Places of all documents, the closest first, one comparison after the other."""
    cosines = [np.float32(math.fsum(query.astype(float) * document)) for document in documents]
    return sorted(range(len(documents)), key=lambda place: (-cosines[place], place))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    num_queries=st.integers(1, 6),
    num_documents=st.integers(1, 25),
    data=st.data(),
)
def test_scores_are_those_of_the_definition(
    seed: int, num_queries: int, num_documents: int, data: st.DataObject
) -> None:
    queries, documents = directions(num_queries, seed), directions(num_documents, seed + 1)
    places = st.sets(st.integers(0, num_documents - 1), min_size=1)
    relevant = [sorted(data.draw(places)) for _ in range(num_queries)]
    found = retrieval_scores(queries, documents, relevant).by_name
    for number, (query, wanted) in enumerate(zip(queries, relevant, strict=True)):
        order = ranked(query, documents)
        hits = [place in wanted for place in order]
        for cutoff in (1, 5, 10):
            assert found[f"recall_at_{cutoff}"][number] == sum(hits[:cutoff]) / len(wanted)
        reciprocal = next((1 / rank for rank, hit in enumerate(hits[:10], start=1) if hit), 0.0)
        assert found["mrr_at_10"][number] == reciprocal
        gains = [hit / math.log2(rank + 1) for rank, hit in enumerate(hits[:10], start=1)]
        ideal = [1 / math.log2(rank + 1) for rank in range(1, min(10, len(wanted)) + 1)]
        assert found["ndcg_at_10"][number] == pytest.approx(sum(gains) / sum(ideal))


def test_ndcg_is_sklearns_where_nothing_is_tied() -> None:
    generator = np.random.default_rng(5)
    queries, documents = (normalised(generator.normal(size=(count, 8)).tolist()) for count in (7, 40))
    relevant = [sorted(generator.choice(40, size=1 + number, replace=False).tolist()) for number in range(7)]
    truth = np.zeros((7, 40))
    for number, wanted in enumerate(relevant):
        truth[number, wanted] = 1
    ours = retrieval_scores(queries, documents, relevant).metrics()["ndcg_at_10"]
    assert ours == pytest.approx(ndcg_score(truth, queries @ documents.T, k=10))
    assert 0 < ours < 1


def test_of_equally_similar_documents_the_first_one_ranks_first() -> None:
    same = normalised([[1, 2, 2]] * 12)
    assert relevant_ranks(same[:1], same, [[0, 3, 11]]) == [[1, 4, 12]]
    scores = retrieval_scores(same, same, [[place] for place in range(12)]).metrics()
    assert scores["recall_at_1"] == pytest.approx(1 / 12)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, documents = directions(9, 1), directions(33, 2)
    relevant = [[number, 32 - number] for number in range(9)]
    at_once = relevant_ranks(queries, documents, relevant)
    monkeypatch.setattr(retrieval, "SCORES_AT_A_TIME", 70)
    monkeypatch.setattr(retrieval, "DOCUMENTS_AT_A_TIME", 4)
    assert relevant_ranks(queries, documents, relevant) == at_once


def test_intervals_hold_the_mean_and_are_narrow_where_all_queries_agree() -> None:
    queries, documents = directions(40, 3), directions(40, 4)
    scores = retrieval_scores(queries, documents, [[number] for number in range(40)])
    intervals = scores.confidence_intervals(resamples=200, seed=1)
    means = scores.metrics()
    assert all(intervals[name][0] <= means[name] <= intervals[name][1] for name in means)
    assert intervals["mrr_at_10"][0] < intervals["mrr_at_10"][1]
    apart = normalised(np.eye(5).tolist())
    perfect = retrieval_scores(apart, apart, [[number] for number in range(5)])
    assert perfect.confidence_intervals(resamples=50, seed=1)["ndcg_at_10"] == [1, 1]


numbers = st.lists(st.integers(-5, 5).map(lambda number: number / 4), min_size=2, max_size=30)


@settings(max_examples=80)
@given(first=numbers, second=numbers)
def test_correlations_are_scipys(first: list[float], second: list[float]) -> None:
    length = min(len(first), len(second))
    one, other = first[:length], second[:length]
    if len(set(one)) < 2 or len(set(other)) < 2:
        assert pearson(one, other) == spearman(one, other) == 0
        return
    assert pearson(one, other) == pytest.approx(scipy.stats.pearsonr(one, other).statistic, abs=1e-12)
    assert spearman(one, other) == pytest.approx(scipy.stats.spearmanr(one, other).statistic, abs=1e-12)


def test_one_number_correlates_with_nothing() -> None:
    assert pearson([1.0], [2.0]) == spearman([], []) == 0

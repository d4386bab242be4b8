"""Tags and spans of a window against what a search over every sequence of tags finds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rankfold.nbest.entity_kernel import FIRST, FLAGS, LABEL, LAST, WINDOW, Integers, Scores, window_spans
from rankfold.nbest.entity_records import CANDIDATE, PREDICTED

Found = dict[tuple[int, int, int], tuple[float, int]]
"""First token, last token, label → score and flags."""

ROUND = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
SHAPES = st.tuples(st.integers(0, 4), st.sampled_from([3, 5]))
TIED_LOGITS = SHAPES.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=ROUND))
LOGITS = SHAPES.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(-30, 30, width=32)))


def spans_of(
    logits: Scores,
    *,
    owned: tuple[int, int] | None = None,
    continues: bool = False,
    n_best_size: int = 20,
    max_answer_length: int = 30,
    constrained: bool = True,
) -> Found:
    """The spans of one window, in the order they come."""
    spans, scores = window_spans(
        logits,
        np.array([0, len(logits)]),
        np.array([owned or (0, len(logits))]),
        np.array([continues]),
        n_best_size,
        max_answer_length,
        constrained,
    )
    keys = map(tuple, spans[:, [FIRST, LAST, LABEL]].tolist())
    return dict(zip(keys, zip(scores.tolist(), spans[:, FLAGS].tolist(), strict=True), strict=True))


def predicted(found: Found) -> set[tuple[int, int, int]]:
    return {span for span, (_, flags) in found.items() if flags & PREDICTED}


def candidates(found: Found) -> list[tuple[int, int, int]]:
    return [span for span, (_, flags) in found.items() if flags & CANDIDATE]


def is_allowed(tags: tuple[int, ...], continues: bool) -> bool:
    """Each I- follows the B- or I- of its label."""
    return all(
        tag == 0 or tag % 2 or (tags[place - 1] in (tag, tag - 1) if place else continues)
        for place, tag in enumerate(tags)
    )


def entities_in(tags: tuple[int, ...]) -> set[tuple[int, int, int]]:
    """The entities of an allowed sequence that begin in it."""
    found = set()
    for first, tag in enumerate(tags):
        if tag % 2:
            last = first
            while last + 1 < len(tags) and tags[last + 1] == tag + 1:
                last += 1
            found.add((first, last, tag // 2))
    return found


def log_softmax(row: Integers | Scores) -> list[float]:
    largest = max(row.tolist())
    total = 0.0
    for value in row.tolist():
        total += math.exp(value - largest)
    return [value - largest - math.log(total) for value in row.tolist()]


@pytest.mark.parametrize("continues", [False, True])
@given(logits=TIED_LOGITS | LOGITS)
@example(logits=np.array([[1, 2**-52, 2**-52], [0, 2**-52, 2**-52]], np.float32))
def test_constrained_decoding_finds_the_best_allowed_sequence_and_the_first_of_several(
    logits: Scores, continues: bool
) -> None:
    log_p = [log_softmax(row) for row in logits]

    def sum_from(first: int, tags: tuple[int, ...]) -> float:
        total = 0.0
        for place in reversed(range(first, len(tags))):
            total = log_p[place][tags[place]] + total
        return total

    sequences = itertools.product(range(logits.shape[1]), repeat=len(logits))
    allowed = [tags for tags in sequences if is_allowed(tags, continues)]
    for place in range(len(logits)):
        best = min(allowed, key=lambda tags: (-sum_from(place, tags), tags[place]))
        allowed = [tags for tags in allowed if tags[place] == best[place]]
    (best,) = allowed
    assert predicted(spans_of(logits, continues=continues)) == entities_in(best)


@given(logits=TIED_LOGITS)
def test_argmax_decoding_takes_the_lowest_of_equal_tags_and_starts_entities_as_seqeval_does(
    logits: Scores,
) -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    names = ["O", "B-0", "I-0", "B-1", "I-1"]
    tags = [names[row.index(max(row))] for row in logits.tolist()]
    expected = {(first, last, int(label)) for label, first, last in get_entities(tags)} if tags else set()
    assert predicted(spans_of(logits, constrained=False)) == expected


def test_an_inside_tag_at_the_left_edge_of_a_later_window_continues_what_another_one_shows() -> None:
    logits = one_hot([2, 2, 3, 4])
    for constrained in (True, False):
        assert predicted(spans_of(logits, continues=True, constrained=constrained)) == {(2, 3, 1)}
    assert predicted(spans_of(logits, constrained=False)) == {(0, 1, 0), (2, 3, 1)}


def one_hot(tags: list[int], num_tags: int = 5) -> Scores:
    return np.eye(num_tags, dtype=np.float32)[tags] * 9


@given(logits=LOGITS, size=st.integers(1, 20), longest=st.integers(1, 5), data=st.data())
def test_candidates_are_the_best_spans_by_the_probability_of_all_their_sequences_of_tags(
    logits: Scores, size: int, longest: int, data: st.DataObject
) -> None:
    num_tokens, num_tags = logits.shape
    start = data.draw(st.integers(0, num_tokens))
    owned = (start, data.draw(st.integers(start, num_tokens)))
    found = spans_of(logits, owned=owned, n_best_size=size, max_answer_length=longest)
    probabilities = np.exp([log_softmax(row) for row in logits]).reshape(num_tokens, num_tags)
    expected: dict[tuple[int, int, int], float] = {}
    for tags in itertools.product(range(num_tags), repeat=num_tokens):
        probability = math.prod(probabilities[place, tag] for place, tag in enumerate(tags))
        for span in entities_in(tags):
            expected[span] = expected.get(span, 0.0) + probability
    expected = {
        (first, last, label): probability
        for (first, last, label), probability in expected.items()
        if owned[0] <= first < owned[1] and last - first < longest
    }
    chosen = candidates(found)
    assert len(chosen) == min(size, len(expected))
    for span in chosen:
        assert math.exp(found[span][0]) == pytest.approx(expected[span], rel=1e-5, abs=1e-12)
    worst = min((math.exp(found[span][0]) for span in chosen), default=0.0)
    assert all(expected[span] <= worst * (1 + 1e-5) for span in expected.keys() - set(chosen))


@given(logits=TIED_LOGITS, size=st.integers(1, 19))
def test_candidates_have_one_order_and_fewer_of_them_are_the_first_ones(logits: Scores, size: int) -> None:
    found = spans_of(logits)
    ranked = candidates(found)
    assert ranked == sorted(ranked, key=lambda span: (-found[span][0], span))
    assert candidates(spans_of(logits, n_best_size=size)) == ranked[:size]


@given(logits=LOGITS)
def test_only_spans_that_begin_in_an_owned_token_are_kept(logits: Scores) -> None:
    whole = spans_of(logits)
    for stop in range(len(logits) + 1):
        left, right = spans_of(logits, owned=(0, stop)), spans_of(logits, owned=(stop, len(logits)))
        assert predicted(left) | predicted(right) == predicted(whole)
        assert all(first < stop for first, _, _ in left)
        assert all(first >= stop for first, _, _ in right)


def test_what_is_predicted_is_kept_with_its_score_though_too_long_or_not_among_the_best() -> None:
    logits = one_hot([1, 2, 2, 0, 3])
    found = spans_of(logits, n_best_size=1, max_answer_length=2)
    assert predicted(found) == {(0, 2, 0), (4, 4, 1)}
    assert candidates(found) == [(4, 4, 1)]
    everything = spans_of(logits)
    assert found[0, 2, 0][0] == everything[0, 2, 0][0]


@pytest.mark.parametrize("gap", [50.0, 800.0, 3e38])
def test_the_certain_and_the_impossible_keep_finite_ordered_scores(gap: float) -> None:
    found = spans_of(np.array([[0, gap, 0], [0, 0, gap]], np.float32))
    assert not any(math.isnan(score) for score, _ in found.values())
    assert found[0, 1, 0] == (0.0, PREDICTED | CANDIDATE)
    assert found[0, 0, 0][0] == pytest.approx(-gap + math.log(2), rel=1e-6)


@settings(max_examples=30)
@given(windows=st.lists(TIED_LOGITS.filter(lambda logits: logits.shape[1] == 5), min_size=1, max_size=4))
def test_windows_do_not_know_of_each_other(windows: list[Scores]) -> None:
    lengths = [len(logits) for logits in windows]
    spans, scores = window_spans(
        np.concatenate(windows),
        np.cumsum([0, *lengths]),
        np.array([(0, length) for length in lengths]),
        np.zeros(len(windows), np.bool_),
        3,
        30,
        True,
    )
    for window, logits in enumerate(windows):
        rows = spans[:, WINDOW] == window
        alone = spans_of(logits, n_best_size=3)
        assert [tuple(span) for span in spans[rows][:, [FIRST, LAST, LABEL]].tolist()] == list(alone)
        assert scores[rows].tolist() == [score for score, _ in alone.values()]

"""From the logits of tags to entities, compiled: probabilities, the best tags, the best spans.

Tag 0 is O; label `i` has the tags 2i + 1 (B-) and 2i + 2 (I-). Tokens are treated as independent: the
probability that exactly the tokens `first` to `last` are an entity of label X is

    p(B-X at first) · ∏ p(I-X at every later token) · (1 − p(I-X at the token behind last))

where the last factor is left out at the end of the window. All of it is computed as float64 logarithms,
with sums from left to right, and rounded once to float32.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.nbest.entity_records import CANDIDATE, PREDICTED
from rankfold.nbest.kernels import kernel

Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

WINDOW, FIRST, LAST, LABEL, FLAGS = range(5)
"""Columns of a table of spans: row of the window, first and last token in it, label, flags."""


@kernel
def window_spans(
    logits: Scores,
    row_starts: Integers,
    owned: Integers,
    continues: npt.NDArray[np.bool_],
    n_best_size: int,
    max_answer_length: int,
    constrained: bool,
) -> tuple[Integers, Scores]:
    """Return the predicted and the n best spans of each window whose first token the window owns.

    Args:
        logits: (num_tokens, num_tags), the tagged tokens of all windows, one window after another.
        row_starts: (num_windows + 1,), where the tokens of each window start.
        owned: (num_windows, 2), first and behind the last token of the window that it owns.
        continues: (num_windows,), whether text stands before the window.
        n_best_size: Candidates of a window.
        max_answer_length: Longest candidate, in tagged tokens; what is predicted may be longer.
        constrained: Whether to decode the best allowed sequence of tags, or each token's best tag.

    Returns:
        (num_spans, 5) and (num_spans,): the spans and their float32 log-probabilities.
    """
    num_windows = len(row_starts) - 1
    room = num_windows * n_best_size + (owned[:, 1] - owned[:, 0]).sum()
    spans, scores = np.zeros((room, 5), np.int64), np.zeros(room, np.float32)
    end = 0
    for window in range(num_windows):
        tokens = logits[row_starts[window] : row_starts[window + 1]]
        log_p, log_not_inside = _log_probabilities(tokens)
        tags = _best_allowed_tags(log_p, continues[window]) if constrained else _best_tags(tokens)
        found, found_scores = spans[end:], scores[end:]
        count = _candidates(
            log_p, log_not_inside, owned[window], n_best_size, max_answer_length, found, found_scores
        )
        predicted = _entities(tags, continues[window])
        count = _add_predicted(log_p, log_not_inside, owned[window], predicted, found, found_scores, count)
        spans[end : end + count, WINDOW] = window
        end += count
    return spans[:end], scores[:end]


@kernel
def _log_probabilities(logits: Scores) -> tuple[Floats, Floats]:
    """log p of each tag, (num_tokens, num_tags), and log(1 − p) of each I-, (num_tokens, num_labels)."""
    num_tokens, num_tags = logits.shape
    log_p, log_not_inside = np.empty((num_tokens, num_tags)), np.empty((num_tokens, num_tags // 2))
    for token in range(num_tokens):
        row = logits[token].astype(np.float64)
        best = row.argmax()
        total = 0.0
        for tag in range(num_tags):
            log_p[token, tag] = np.exp(row[tag] - row[best])
            total += log_p[token, tag]
        for label in range(num_tags // 2):
            inside = 2 * label + 2
            if inside == best:
                # 1 − p would be all rounding error where p is near 1.
                rest = _log_sum_of_others(row, inside) - row[best]
            else:
                rest = np.log(total - log_p[token, inside])
            log_not_inside[token, label] = rest - np.log(total)
        for tag in range(num_tags):
            log_p[token, tag] = row[tag] - row[best] - np.log(total)
    return log_p, log_not_inside


@kernel
def _log_sum_of_others(row: Floats, left_out: int) -> Any:
    largest = -np.inf
    for tag in range(len(row)):
        if tag != left_out:
            largest = max(largest, row[tag])
    total = 0.0
    for tag in range(len(row)):
        if tag != left_out:
            total += np.exp(row[tag] - largest)
    return largest + np.log(total)


@kernel
def _best_tags(logits: Scores) -> Integers:
    """Each token's best tag, the lowest of several."""
    tags = np.empty(len(logits), np.int64)
    for token in range(len(logits)):
        tags[token] = logits[token].argmax()
    return tags


@kernel
def _best_allowed_tags(log_p: Floats, continues: bool) -> Integers:
    """The sequence of tags with the largest sum of `log_p` of all that the BIO scheme allows (Viterbi).

    I-X follows B-X or I-X only, and begins the window only where text stands before it. Sums run from the
    last token to the first. From the first token on, each gets the tag with the largest sum from there to the
    end, the lowest of several: rounding may hide in the whole sum what a part of it still tells.
    """
    num_tokens, num_tags = log_p.shape
    best = log_p.copy()  # the sum from a token to the end of the window, by the token's tag
    for token in range(num_tokens - 2, -1, -1):
        anywhere = best[token + 1, 0]
        for tag in range(1, num_tags, 2):
            anywhere = max(anywhere, best[token + 1, tag])
        best[token, 0] += anywhere
        for tag in range(1, num_tags):
            inside = tag + tag % 2
            best[token, tag] += max(anywhere, best[token + 1, inside])
    tags = np.empty(num_tokens, np.int64)
    for token in range(num_tokens):
        chosen = 0
        for tag in range(1, num_tags):
            is_inside = tag % 2 == 0
            if token == 0:
                allowed = continues or not is_inside
            else:
                allowed = not is_inside or tags[token - 1] == tag or tags[token - 1] == tag - 1
            if allowed and best[token, tag] > best[token, chosen]:
                chosen = tag
        tags[token] = chosen
    return tags


@kernel
def _entities(tags: Integers, continues: bool) -> Integers:
    """Return (num_entities, 5) spans; an I- that continues nothing starts an entity, as in seqeval.

    At the beginning of a window that continues a text, it belongs to an entity whose beginning another
    window shows.
    """
    spans = np.zeros((len(tags), 5), np.int64)
    count, label, is_shown = 0, -1, False
    for token in range(len(tags)):
        tag = tags[token]
        goes_on = tag > 0 and tag % 2 == 0 and (label == tag // 2 - 1 or (token == 0 and continues))
        if goes_on:
            label = tag // 2 - 1
            if is_shown:
                spans[count - 1, LAST] = token
            continue
        label, is_shown = (tag + 1) // 2 - 1, tag > 0
        if is_shown:
            spans[count, FIRST], spans[count, LAST], spans[count, LABEL] = token, token, label
            count += 1
    return spans[:count]


@kernel
def _candidates(
    log_p: Floats,
    log_not_inside: Floats,
    owned: Integers,
    n_best_size: int,
    max_answer_length: int,
    spans: Integers,
    scores: Scores,
) -> int:
    """Fill `spans` and `scores` with the best spans, best first; return how many."""
    num_tokens, num_labels = log_not_inside.shape
    count = 0
    for first in range(owned[0], owned[1]):
        for label in range(num_labels):
            so_far = 0.0
            for last in range(first, min(first + max_answer_length, num_tokens)):
                so_far += log_p[last, 2 * label + (1 if last == first else 2)]
                # Whatever the span's end, its score is no better than this.
                if count == n_best_size and np.float32(so_far) < scores[count - 1]:
                    break
                score = so_far
                if last + 1 < num_tokens:
                    score += log_not_inside[last + 1, label]
                count = _insert(spans, scores, count, n_best_size, first, last, label, np.float32(score))
    return count


@kernel
def _insert(
    spans: Integers,
    scores: Scores,
    count: int,
    n_best_size: int,
    first: int,
    last: int,
    label: int,
    score: np.float32,
) -> int:
    """Put a span in its place among the `count` best so far: score descending, first, last, label."""
    place = count
    while place > 0 and (
        score > scores[place - 1]
        or (
            score == scores[place - 1]
            and (first, last, label)
            < (spans[place - 1, FIRST], spans[place - 1, LAST], spans[place - 1, LABEL])
        )
    ):
        place -= 1
    if place == n_best_size:
        return count
    count = min(count + 1, n_best_size)
    for lower in range(count - 1, place, -1):
        spans[lower], scores[lower] = spans[lower - 1], scores[lower - 1]
    spans[place, FIRST], spans[place, LAST], spans[place, LABEL] = first, last, label
    spans[place, FLAGS], scores[place] = CANDIDATE, score
    return count


@kernel
def _add_predicted(
    log_p: Floats,
    log_not_inside: Floats,
    owned: Integers,
    predicted: Integers,
    spans: Integers,
    scores: Scores,
    count: int,
) -> int:
    """Mark the predicted spans among the `count` candidates and add the others; return how many now."""
    num_candidates = count
    for entity in predicted:
        first, last, label = entity[FIRST], entity[LAST], entity[LABEL]
        if not owned[0] <= first < owned[1]:
            continue
        place = 0
        while place < num_candidates and not (spans[place, FIRST:FLAGS] == entity[FIRST:FLAGS]).all():
            place += 1
        if place == num_candidates:
            place = count
            count += 1
            spans[place] = entity
            scores[place] = _score(log_p, log_not_inside, first, last, label)
        spans[place, FLAGS] |= PREDICTED
    return count


@kernel
def _score(log_p: Floats, log_not_inside: Floats, first: int, last: int, label: int) -> Any:
    """The log-probability of one span, added up as `_candidates` does."""
    score = log_p[first, 2 * label + 1]
    for token in range(first + 1, last + 1):
        score += log_p[token, 2 * label + 2]
    if last + 1 < len(log_p):
        score += log_not_inside[last + 1, label]
    return np.float32(score)

"""What is hidden of a text for a model to restore: single tokens (BERT) or spans (T5).

How much is hidden follows from a text's length alone, what is hidden from a generator. Evaluation draws once,
from the recipe's seed and the example; training draws anew for every batch that a row comes in.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.data.collate import IGNORED_LABEL

SHARE_MASKED, SHARE_RANDOM = 0.8, 0.1
"""Of the tokens to guess, those that become [MASK] and those that become any token; the others stay.

Devlin et al. 2019, section 3.1: in use there is no [MASK], so a model must also guess what it sees.
"""

Tokens = list[int]


@dataclass(frozen=True)
class SpanNoise:
    """How much of a text is cut out, and in how many pieces."""

    num_tokens: int
    num_spans: int


def noise_seed(seed: int, example_id: str, piece: int) -> int:
    """A number below 2⁶³ for a piece of a document; it follows from these alone, not from order or shard."""
    return _digest([seed, example_id, piece])


def generator_of(seed: int) -> np.random.Generator:
    """The draws of an evaluation row."""
    return np.random.Generator(np.random.PCG64(seed))


def of_epoch(row: Mapping[str, Any], epoch: int) -> Mapping[str, Any]:
    """A training row with the noise of an epoch; one without noise as it is."""
    return {**row, "noise_seed": _digest([row["noise_seed"], epoch])} if "noise_seed" in row else row


def batch_generators(seeds: Sequence[int]) -> list[np.random.Generator]:
    """The draws of each row of a training batch, which follow from its rows, their order and their seeds.

    Seeds are those of an epoch (`of_epoch`), so something else of a row is hidden in another; a row that
    comes several times in an epoch stands in other batches or places. A run that goes on from a checkpoint
    meets the same batches and draws the same, and so does any number of ranks, since batches are made before
    they are dealt.
    """
    batch = _digest(list(seeds))
    return [np.random.Generator(np.random.PCG64([batch, place])) for place in range(len(seeds))]


def num_masked(num_tokens: int, probability: float) -> int:
    """How many of `num_tokens` are to be guessed: BERT's rule, and never none."""
    return min(num_tokens, max(1, round(num_tokens * probability)))


def mask_tokens(
    ids: Sequence[int],
    candidates: Sequence[int],
    count: int,
    generator: np.random.Generator,
    *,
    mask_id: int,
    vocabulary_size: int,
) -> tuple[Tokens, Tokens]:
    """Hide `count` of the tokens at the places `candidates`; return the input and the labels."""
    input_ids, labels = list(ids), [IGNORED_LABEL] * len(ids)
    chosen = generator.permutation(len(candidates))[:count]
    fates, others = generator.random(count), generator.integers(vocabulary_size, size=count)
    for index, fate, other in zip(chosen.tolist(), fates.tolist(), others.tolist(), strict=True):
        place = candidates[index]
        labels[place] = ids[place]
        if fate < SHARE_MASKED:
            input_ids[place] = mask_id
        elif fate < SHARE_MASKED + SHARE_RANDOM:
            input_ids[place] = other
    return input_ids, labels


def span_noise(num_tokens: int, density: float, mean_span_length: float) -> SpanNoise:
    """How much of a text of at least two tokens is cut out: T5's `random_spans_noise_mask`."""
    cut = min(max(round(num_tokens * density), 1), num_tokens - 1)
    # A piece that stays stands in front of each that is cut out.
    spans = min(max(round(cut / mean_span_length), 1), cut, num_tokens - cut)
    return SpanNoise(cut, spans)


def draw_spans(num_tokens: int, noise: SpanNoise, generator: np.random.Generator) -> list[range]:
    """Draw what is cut out of a text, in order; it begins with something that stays."""
    cut = _divide(noise.num_tokens, noise.num_spans, generator)
    kept = _divide(num_tokens - noise.num_tokens, noise.num_spans, generator)
    spans, start = [], 0
    for num_kept, num_cut in zip(kept, cut, strict=True):
        spans.append(range(start + num_kept, start + num_kept + num_cut))
        start += num_kept + num_cut
    return spans


def cut_out(
    ids: Sequence[int], spans: Sequence[range], sentinels: Sequence[int], end: int
) -> tuple[Tokens, Tokens]:
    """Return the text with a sentinel for each span, and each span behind its sentinel; both with an end.

    Raffel et al. 2020, section 3.1.4. As T5's own code has it, the last span has no sentinel behind it,
    and tokens that no span covers are only in the input.
    """
    inputs: Tokens = []
    targets: Tokens = []
    start = 0
    for span, sentinel in zip(spans, sentinels, strict=False):
        inputs += [*ids[start : span.start], sentinel]
        targets += [sentinel, *ids[span.start : span.stop]]
        start = span.stop
    return [*inputs, *ids[start:], end], [*targets, end]


def _divide(total: int, parts: int, generator: np.random.Generator) -> list[int]:
    """Divide `total` into so many numbers of at least 1, every way as likely."""
    borders = np.sort(generator.permutation(total - 1)[: parts - 1]) + 1
    edges: npt.NDArray[np.int64] = np.concatenate([[0], borders, [total]])
    divided: list[int] = np.diff(edges).tolist()
    return divided


def _digest(values: Sequence[int | str]) -> int:
    named = json.dumps(values, ensure_ascii=False).encode()
    return int.from_bytes(hashlib.sha256(named).digest()[:8]) >> 1

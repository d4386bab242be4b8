"""What is hidden of a text: how much, where, and that nothing is lost."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.noise import (
    batch_generators,
    cut_out,
    draw_spans,
    generator_of,
    mask_tokens,
    noise_seed,
    num_masked,
    of_epoch,
    span_noise,
)

END = -1
SENTINELS = range(-100, -2000, -1)
MASK = -7
SEEDS = st.integers(0, 2**63 - 1)


def restored(inputs: list[int], targets: list[int]) -> list[int]:
    """Put what stands behind each sentinel of the targets into its place in the inputs."""
    pieces: dict[int, list[int]] = {}
    for token in targets[:-1]:
        if token in SENTINELS:
            pieces[token] = []
        else:
            pieces[list(pieces)[-1]].append(token)
    assert inputs[-1] == targets[-1] == END
    return [
        token for place in inputs[:-1] for token in (pieces.pop(place) if place in SENTINELS else [place])
    ]


@given(
    length=st.integers(2, 300),
    density=st.floats(0.01, 0.99),
    mean_length=st.floats(0.5, 20),
    seed=SEEDS,
)
def test_what_was_cut_out_put_back_is_the_text(
    length: int, density: float, mean_length: float, seed: int
) -> None:
    noise = span_noise(length, density, mean_length)
    spans = draw_spans(length, noise, generator_of(seed))
    tokens = list(range(length))
    inputs, targets = cut_out(tokens, spans, SENTINELS, END)
    assert restored(inputs, targets) == tokens
    assert len(spans) == noise.num_spans
    assert sum(map(len, spans)) == noise.num_tokens
    # Sentinels count up from the first, the same on both sides, and none stands beside another.
    assert [token for token in inputs if token in SENTINELS] == list(SENTINELS[: len(spans)])
    assert [token for token in targets if token in SENTINELS] == list(SENTINELS[: len(spans)])
    assert all(len(span) for span in spans)
    assert all(span.stop < after.start for span, after in pairwise(spans))
    assert len(inputs) <= length + 1


@pytest.mark.parametrize(
    ("length", "num_tokens", "num_spans"), [(512, 77, 26), (2, 1, 1), (20, 3, 1), (100, 15, 5)]
)
def test_as_much_is_cut_out_as_by_t5(length: int, num_tokens: int, num_spans: int) -> None:
    noise = span_noise(length, 0.15, 3.0)
    assert (noise.num_tokens, noise.num_spans) == (num_tokens, num_spans)


def test_spans_are_as_likely_here_as_there() -> None:
    noise = span_noise(20, 0.3, 2.0)
    assert (noise.num_tokens, noise.num_spans) == (6, 3)
    lengths = [len(span) for seed in range(400) for span in draw_spans(20, noise, generator_of(seed))]
    # Of 6 tokens in 3 pieces, each way as likely: lengths 1, 2, 3, 4 in 12, 9, 6, 3 of 30.
    shares = np.bincount(lengths, minlength=5)[1:] / len(lengths)
    assert shares == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.04)


@given(length=st.integers(0, 200), probability=st.floats(0.01, 0.99), seed=SEEDS)
def test_labels_are_what_was_there_and_the_rest_is_left_alone(
    length: int, probability: float, seed: int
) -> None:
    ids = [1000, *range(length), 1001]
    candidates = list(range(1, length + 1))
    count = num_masked(length, probability)
    masked, labels = mask_tokens(
        ids, candidates, count, generator_of(seed), mask_id=MASK, vocabulary_size=500
    )
    chosen = [place for place, label in enumerate(labels) if label != IGNORED_LABEL]
    assert len(chosen) == count
    assert set(chosen) <= set(candidates)
    assert all(labels[place] == ids[place] for place in chosen)
    assert all(masked[place] == ids[place] for place in range(len(ids)) if place not in chosen)


def test_of_the_tokens_to_guess_eight_in_ten_are_masked_and_one_stays() -> None:
    ids = [600] * 20_000
    masked, _ = mask_tokens(ids, range(len(ids)), 10_000, generator_of(3), mask_id=MASK, vocabulary_size=500)
    assert masked.count(MASK) / 10_000 == pytest.approx(0.8, abs=0.02)
    others = [token for token in masked if token not in (MASK, 600)]
    assert len(others) / 10_000 == pytest.approx(0.1, abs=0.02)
    assert len(set(others)) > 300


def test_a_share_of_the_tokens_is_guessed_and_never_none() -> None:
    assert [num_masked(length, 0.15) for length in (0, 1, 3, 10, 100)] == [0, 1, 1, 2, 15]


def draws(generators: list[np.random.Generator]) -> list[float]:
    return [float(generator.random()) for generator in generators]


def test_the_noise_of_a_batch_follows_from_its_rows_and_their_order() -> None:
    seeds = [noise_seed(42, f"d{number}", 0) for number in range(4)]
    assert draws(batch_generators(seeds)) == draws(batch_generators(seeds))
    assert len(set(draws(batch_generators(seeds)))) == 4
    for other in (seeds[::-1], [*seeds[:3], seeds[0]], seeds[:3]):
        assert not set(draws(batch_generators(other))) & set(draws(batch_generators(seeds)))


@given(seed=SEEDS, epochs=st.sets(st.integers(0, 1000), min_size=2, max_size=5))
def test_a_row_has_other_noise_in_each_epoch_and_the_same_in_the_same(seed: int, epochs: set[int]) -> None:
    row = {"input_ids": [1, 2], "noise_seed": seed}
    seeds = [of_epoch(row, epoch)["noise_seed"] for epoch in sorted(epochs)]
    assert len(set(seeds)) == len(epochs)
    assert seeds == [of_epoch(row, epoch)["noise_seed"] for epoch in sorted(epochs)]
    assert all(0 <= each < 2**63 for each in seeds)
    without = {"input_ids": [1, 2]}
    assert of_epoch(without, 3) == without


def test_pieces_documents_and_recipes_have_noise_of_their_own() -> None:
    seeds = {
        noise_seed(seed, document, piece) for seed in (1, 2) for document in ("1", "11") for piece in (1, 11)
    }
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)

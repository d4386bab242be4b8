from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import absolute_causal_model, causal_model, chat_tokenizer
from transformers import MambaConfig, MambaForCausalLM, PreTrainedModel

from rankfold.data.causal import collate_causal
from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.features import Features
from rankfold.data.packing import best_fit, pack
from rankfold.errors import RecipeError
from rankfold.tasks.generative_ner import GenerativeNER
from rankfold.training.packing_check import check_packing

TOKENIZER = chat_tokenizer()
NUM_ITEMS = GenerativeNER().num_items
SIZE = 24
LENGTHS = st.lists(st.integers(1, SIZE), min_size=1, max_size=40)


def examples(lengths: list[int]) -> Features:
    """Examples of some lengths whose later half is learned, so that some learn one token only."""
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(1, len(TOKENIZER), (length,), generator=generator).tolist() for length in lengths]
    labels = [[IGNORED_LABEL] * (len(row) // 2) + row[len(row) // 2 :] for row in ids]
    return Features({"input_ids": ids, "labels": labels})


def rows_of(features: Features) -> list[dict[str, Any]]:
    return [
        dict(zip(features.columns, values, strict=True))
        for values in zip(*features.columns.values(), strict=True)
    ]


def learn(model: PreTrainedModel, batches: list[dict[str, Any]]) -> tuple[float, list[torch.Tensor]]:
    """The mean loss over all learned tokens of some batches, and its gradients."""
    model.zero_grad()
    # An example of one token teaches nothing, and the mean over nothing is no number.
    counted = [(batch, NUM_ITEMS(batch)) for batch in batches if NUM_ITEMS(batch)]
    mean = sum(model(**batch).loss * n for batch, n in counted) / sum(n for _, n in counted)
    mean.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    return float(mean.detach()), gradients


def batches_of(features: Features, size: int) -> list[dict[str, Any]]:
    rows = rows_of(features)
    return [collate_causal(rows[at : at + size], TOKENIZER) for at in range(0, len(rows), size)]


@given(lengths=LENGTHS)
def test_every_example_is_in_one_row_and_no_row_is_too_long(lengths: list[int]) -> None:
    rows = best_fit(lengths, SIZE)
    assert sorted(one for row in rows for one in row) == list(range(len(lengths)))
    assert all(sum(lengths[one] for one in row) <= SIZE for row in rows)


@given(lengths=LENGTHS)
def test_no_two_rows_would_fit_into_one(lengths: list[int]) -> None:
    filled = sorted(sum(lengths[one] for one in row) for row in best_fit(lengths, SIZE))
    assert len(filled) < 2 or filled[0] + filled[1] > SIZE


def test_an_example_goes_where_it_leaves_the_least_room() -> None:
    assert best_fit([13, 15, 9], SIZE) == [[0], [1, 2]]


def test_an_example_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="25 tokens is longer than a row of 24"):
        best_fit([3, 25], SIZE)


def test_columns_that_nobody_would_part_are_refused() -> None:
    with pytest.raises(ValueError, match="token_type_ids"):
        pack(Features({"input_ids": [[1]], "labels": [[1]], "token_type_ids": [[0]]}), SIZE)


@given(lengths=LENGTHS)
def test_a_packed_row_holds_its_examples_whole_and_nothing_is_learned_across_their_borders(
    lengths: list[int],
) -> None:
    features = examples(lengths)
    packed = pack(features, SIZE)
    parts = []
    for row in rows_of(packed):
        starts = [place for place, position in enumerate(row["position_ids"]) if position == 0]
        for start, end in zip(starts, [*starts[1:], len(row["input_ids"])], strict=True):
            assert row["position_ids"][start:end] == list(range(end - start))
            assert row["labels"][start] == IGNORED_LABEL
            parts.append((row["input_ids"][start:end], row["labels"][start + 1 : end]))
    before = [(row["input_ids"], row["labels"][1:]) for row in rows_of(features)]
    assert sorted(parts) == sorted(before)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("make", [causal_model, absolute_causal_model])
def test_packed_examples_are_learned_as_they_are_one_by_one(make: Any, kernel: str) -> None:
    model = make(TOKENIZER)
    model.set_attn_implementation(kernel)
    features = examples([5, 11, 3, 16, 9, 2, 7, 1])
    packed = pack(features, SIZE)
    # Rows of unequal length, so that one is padded.
    assert len({len(ids) for ids in packed.columns["input_ids"]}) > 1
    alone, gradients = learn(model, batches_of(features, 1))
    together, packed_gradients = learn(model, batches_of(packed, len(packed)))
    assert together == pytest.approx(alone, abs=1e-5)
    for gradient, packed_gradient in zip(gradients, packed_gradients, strict=True):
        torch.testing.assert_close(packed_gradient, gradient, atol=1e-5, rtol=1e-4)


def test_a_mask_would_let_packed_examples_see_each_other() -> None:
    """What the test before this one relies on: it notices."""
    model = causal_model(TOKENIZER)
    features = examples([5, 11, 3, 16, 9, 2, 7, 1])
    alone, _ = learn(model, batches_of(features, 1))
    (leaky,) = batches_of(pack(features, SIZE), len(features))
    leaky["attention_mask"] = torch.ones_like(leaky["input_ids"])
    together, _ = learn(model, [leaky])
    assert abs(together - alone) > 1e-3


def test_a_cache_would_let_packed_examples_see_each_other() -> None:
    model = causal_model(TOKENIZER)
    features = examples([5, 11, 3, 16, 9, 2, 7, 1])
    alone, _ = learn(model, batches_of(features, 1))
    (leaky,) = batches_of(pack(features, SIZE), len(features))
    together, _ = learn(model, [leaky | {"use_cache": True}])
    assert abs(together - alone) > 1e-3


@pytest.mark.parametrize("make", [causal_model, absolute_causal_model])
def test_models_that_keep_packed_examples_apart_pass_the_check(make: Any) -> None:
    model = make(TOKENIZER).train()
    check_packing(model)
    assert model.training


def test_a_model_that_carries_a_state_from_token_to_token_is_refused() -> None:
    torch.manual_seed(0)
    model = MambaForCausalLM(
        MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=2, state_size=4, use_mambapy=False)
    )
    with pytest.raises(RecipeError, match="mamba"):
        check_packing(model)

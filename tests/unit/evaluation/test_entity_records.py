from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from models import encoder_model, encoder_tokenizer, ignore, recipe
from torch import Tensor
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerBase

from rankfold.data.examples import EntityExample
from rankfold.errors import NumericalError
from rankfold.evaluation.entity_records import entity_records
from rankfold.evaluation.work import UnitWork
from rankfold.nbest.entity_records import CANDIDATE, PREDICTED, EntityRecords
from rankfold.nbest.units import Unit
from rankfold.tasks.token_classification import TokenClassification

NUM_WINDOWS = 9
NUM_TAGS = 5
SENTENCE = "Anna lives in Ulm by the river. "


class LogitsOfTokens:
    """A model whose logits depend on nothing but a token's id; padding gets the largest of all."""

    device = torch.device("cpu")

    def __init__(self, *, broken_token: int = -1) -> None:
        self.broken_token = broken_token
        self.batches: list[tuple[int, int]] = []

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, **inputs: Tensor) -> SimpleNamespace:
        self.batches.append((input_ids.shape[0], input_ids.shape[1]))
        mixed = input_ids.unsqueeze(2) * torch.tensor([7919, 104729, 1299709, 15485863, 32452843])
        logits = (mixed % 1009).float() / 100
        logits[attention_mask == 0] = 1e9
        logits[(input_ids == self.broken_token) & (attention_mask == 1)] = float("nan")
        return SimpleNamespace(logits=logits)


def windows(tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """Windows of different lengths, as they are stored."""
    examples = [EntityExample(str(length), SENTENCE * length, ()) for length in range(1, NUM_WINDOWS + 1)]
    settings = recipe("token_classification", data={"max_length": 256, "doc_stride": 8})
    columns = TokenClassification().evaluation_features(examples, tokenizer, settings, ()).columns
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def records_of(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int,
    advance: Callable[[int], None] = ignore,
    **evaluation: Any,
) -> EntityRecords:
    values = {"n_best_size": 5, "max_answer_length": 4, "per_device_eval_batch_size": batch_size}
    settings = recipe("token_classification", evaluation=values | evaluation).evaluation
    unit = Unit(1, 100, 100 + NUM_WINDOWS)
    work = UnitWork(unit, windows(tokenizer), shard="shard 3 (base)", advance=advance)
    return entity_records(model, tokenizer, work, settings)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("batch_size", [2, 4, 100])
def test_the_size_of_a_batch_and_its_padding_change_no_bit_of_a_record(side: str, batch_size: int) -> None:
    tokenizer = encoder_tokenizer(padding_side=side)
    alone = records_of(LogitsOfTokens(), tokenizer, batch_size=1)
    assert records_of(LogitsOfTokens(), tokenizer, batch_size=batch_size).tobytes() == alone.tobytes()


def test_records_come_in_the_order_of_the_windows_however_they_were_batched() -> None:
    records = records_of(LogitsOfTokens(), encoder_tokenizer(), batch_size=4)
    assert np.unique(records["window_id"]).tolist() == list(range(100, 100 + NUM_WINDOWS))
    assert (np.diff(records["window_id"].astype(np.int64)) >= 0).all()
    assert (records["example_index"] == records["window_id"] - 100).all()


def test_windows_of_similar_length_share_a_batch_and_progress_adds_up() -> None:
    model = LogitsOfTokens()
    done: list[int] = []
    records_of(model, encoder_tokenizer(), batch_size=4, advance=done.append)
    assert [size for size, _ in model.batches] == done == [4, 4, 1]
    widths = [width for _, width in model.batches]
    assert widths == sorted(widths, reverse=True)


class EndsOfNothing:
    """A model that says I- of the word "lives" and O of all others."""

    device = torch.device("cpu")

    def __init__(self, lives: int) -> None:
        self.lives = lives

    def __call__(self, input_ids: Tensor, **inputs: Tensor) -> SimpleNamespace:
        logits = torch.tensor([1.0, 0.0, 0.0]).repeat(*input_ids.shape, 1)
        logits[:, :, 2] += 1.5 * (input_ids == self.lives)
        return SimpleNamespace(logits=logits)


def test_the_strategy_decides_what_is_predicted_but_not_the_candidates() -> None:
    tokenizer = encoder_tokenizer()
    model = EndsOfNothing(tokenizer.convert_tokens_to_ids("lives"))
    constrained, argmax = (
        records_of(model, tokenizer, batch_size=4, decoding_strategy=strategy)
        for strategy in ("constrained", "argmax")
    )
    assert not (constrained["flags"] & PREDICTED).any()
    predicted = argmax[(argmax["flags"] & PREDICTED) > 0]
    assert set(predicted["start_char"] % len(SENTENCE)) == {SENTENCE.index("lives")}
    assert len(predicted) == sum(range(1, NUM_WINDOWS + 1))
    fields = ["window_id", "start_char", "end_char", "label", "score"]
    candidates = [records[(records["flags"] & CANDIDATE) > 0][fields] for records in (constrained, argmax)]
    assert candidates[0].tolist() == candidates[1].tolist()


def test_nan_names_the_window_and_the_shard() -> None:
    tokenizer = encoder_tokenizer()
    broken = LogitsOfTokens(broken_token=tokenizer.convert_tokens_to_ids("ulm"))
    with pytest.raises(NumericalError, match=r"in window 108 is nan") as caught:
        records_of(broken, tokenizer, batch_size=1)
    assert caught.value.where == "shard 3 (base)"


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_real_encoder_claims_the_same_entities_in_any_batch(kind: str) -> None:
    tokenizer = encoder_tokenizer()
    config = encoder_model(tokenizer, kind=kind).config
    config.num_labels = NUM_TAGS
    model = AutoModelForTokenClassification.from_config(config).eval()
    if kind == "distilbert":
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    alone = records_of(model, tokenizer, batch_size=1)
    together = records_of(model, tokenizer, batch_size=NUM_WINDOWS)
    np.testing.assert_allclose(together["score"], alone["score"], rtol=1e-4, atol=1e-5)

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from models import encoder_model, encoder_tokenizer, ignore, recipe
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerBase

from rankfold.data.examples import QuestionExample
from rankfold.data.windows import make_windows
from rankfold.errors import NumericalError
from rankfold.evaluation import span_records
from rankfold.evaluation.batches import model_inputs
from rankfold.evaluation.span_records import window_records
from rankfold.evaluation.work import UnitWork
from rankfold.nbest.records import Records
from rankfold.nbest.units import Unit

NUM_WINDOWS = 9


class LogitsOfTokens:
    """A model whose logits depend on nothing but a token's id; padding gets the largest of all."""

    device = torch.device("cpu")

    def __init__(self, *, broken_token: int = -1, dtype: torch.dtype = torch.float32) -> None:
        self.broken_token, self.dtype = broken_token, dtype
        self.batches: list[tuple[int, int]] = []

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, **inputs: Tensor) -> SimpleNamespace:
        self.batches.append((input_ids.shape[0], input_ids.shape[1]))
        start = (input_ids * 7919 % 1009).float().where(attention_mask == 1, 1e9)
        start[(input_ids == self.broken_token) & (attention_mask == 1)] = float("nan")
        end = (input_ids * 104729 % 997).float().where(attention_mask == 1, 1e9)
        return SimpleNamespace(start_logits=start.to(self.dtype), end_logits=end.to(self.dtype))


def windows(tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """Windows of different lengths, as they are stored."""
    examples = [
        QuestionExample(str(length), "Where?", "Anna lives in Ulm by the river. " * length, ())
        for length in range(1, NUM_WINDOWS + 1)
    ]
    data = recipe("extractive_qa", data={"max_length": 256, "doc_stride": 8}).data
    return [
        {**window.model_inputs, "example": window.example, "cls_index": window.cls_index}
        for window in make_windows(examples, tokenizer, data)
    ]


def records_of(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int,
    advance: Callable[[int], None] = ignore,
) -> Records:
    unit = Unit(1, 100, 100 + NUM_WINDOWS)
    work = UnitWork(unit, windows(tokenizer), shard="shard 3 (base)", advance=advance)
    values = {"n_best_size": 5, "per_device_eval_batch_size": batch_size}
    return window_records(model, tokenizer, work, recipe("extractive_qa", evaluation=values).evaluation)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("batch_size", [2, 4, 100])
def test_the_size_of_a_batch_and_its_padding_change_no_bit_of_a_record(side: str, batch_size: int) -> None:
    tokenizer = encoder_tokenizer(padding_side=side)
    alone = records_of(LogitsOfTokens(), tokenizer, batch_size=1)
    assert records_of(LogitsOfTokens(), tokenizer, batch_size=batch_size).tobytes() == alone.tobytes()


def test_records_come_in_the_order_of_the_windows_however_they_were_batched() -> None:
    records = records_of(LogitsOfTokens(), encoder_tokenizer(), batch_size=4)
    assert records["window_id"].tolist() == list(range(100, 100 + NUM_WINDOWS))
    assert records["example_index"].tolist() == list(range(NUM_WINDOWS))


def test_windows_of_similar_length_share_a_batch() -> None:
    model = LogitsOfTokens()
    records_of(model, encoder_tokenizer(), batch_size=4)
    assert [size for size, _ in model.batches] == [4, 4, 1]
    widths = [width for _, width in model.batches]
    assert widths == sorted(widths, reverse=True)


def test_progress_adds_up_to_all_windows() -> None:
    done: list[int] = []
    records_of(LogitsOfTokens(), encoder_tokenizer(), batch_size=4, advance=done.append)
    assert done == [4, 4, 1]


def test_nan_names_the_window_and_the_shard() -> None:
    tokenizer = encoder_tokenizer()
    broken = LogitsOfTokens(broken_token=tokenizer.convert_tokens_to_ids("ulm"))
    with pytest.raises(NumericalError, match=r"in window 108 is nan") as caught:
        records_of(broken, tokenizer, batch_size=1)
    assert caught.value.where == "shard 3 (base)"


def test_logits_on_a_gpu_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = encoder_tokenizer()
    on_host = records_of(LogitsOfTokens(), tokenizer, batch_size=4)
    monkeypatch.setattr(Tensor, "is_cuda", True)
    monkeypatch.delattr(span_records, "extract_records")
    assert records_of(LogitsOfTokens(), tokenizer, batch_size=4).tobytes() == on_host.tobytes()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_upcast_and_nothing_is_lost(dtype: torch.dtype) -> None:
    tokenizer = encoder_tokenizer()
    records = records_of(LogitsOfTokens(dtype=dtype), tokenizer, batch_size=4)
    for record, window in zip(records, windows(tokenizer), strict=True):
        logits = (torch.tensor(window["input_ids"]) * 7919 % 1009).to(dtype).float()
        kept, positions = record["start_logits"][:5].tolist(), record["start_positions"][:5].tolist()
        assert kept == logits[positions].tolist() == logits.sort(descending=True).values[:5].tolist()


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_real_encoder_gives_each_window_the_same_logits_in_any_batch(kind: str) -> None:
    tokenizer = encoder_tokenizer()
    config = encoder_model(tokenizer, kind=kind).config
    model = AutoModelForQuestionAnswering.from_config(config).eval()
    if kind == "distilbert":
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    alone = records_of(model, tokenizer, batch_size=1)
    together = records_of(model, tokenizer, batch_size=NUM_WINDOWS)
    for name in ("start_logits", "end_logits", "null_start_logit", "null_end_logit"):
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_model_gets_ids_mask_and_segments_of_one_shape(side: str) -> None:
    tokenizer = encoder_tokenizer(padding_side=side)
    rows = windows(tokenizer)[:3]
    inputs = model_inputs(rows, tokenizer)
    assert inputs.keys() == {"input_ids", "attention_mask", "token_type_ids"}
    assert len({tensor.shape for tensor in inputs.values()}) == 1
    for row, window in enumerate(rows):
        real = inputs["attention_mask"][row].bool()
        for name in ("input_ids", "token_type_ids"):
            assert inputs[name][row][real].tolist() == window[name]

"""Records from numba, from torch and from the definition in plain Python: the same bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankfold.errors import NumericalError, UserError
from rankfold.evaluation.extract_on_device import extract_on_device
from rankfold.nbest.extract import extract_records
from rankfold.nbest.records import WINDOW_RECORD, Records

Floats = npt.NDArray[np.float32]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
TIED = (0.0, -0.0, 1e-40, -1e-40, 1e-45, 0.5, -0.5, 1.0078125, 1.015625, -3.0, 3e38, -3e38)
"""Neighbours on bfloat16's grid, both zeros, subnormal numbers, numbers near the largest."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded logits, exact in `dtype`, and where the real tokens are."""

    start_logits: Floats
    end_logits: Floats
    dtype: torch.dtype
    windows: dict[str, Any]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    dtype = draw(st.sampled_from((torch.float32, torch.float16, torch.bfloat16)))
    rows, max_length = draw(st.integers(0, 4)), draw(st.integers(1, 70))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    lengths = random.integers(1, max_length, size=rows, endpoint=True)
    on_left = draw(st.booleans())
    first_token = max_length - lengths if on_left else np.zeros(rows, dtype=np.int64)
    kind = draw(st.sampled_from(("tied", "bits", "normal")))
    tokens = np.arange(max_length)
    is_real = (tokens >= first_token[:, None]) & (tokens < (first_token + lengths)[:, None])
    junk = draw(st.sampled_from((np.nan, np.inf, 60000.0)))
    starts, ends = (
        np.where(is_real, _exact_in(dtype, _values(random, kind, (rows, max_length))), np.float32(junk))
        for _ in range(2)
    )
    windows = {
        "lengths": lengths,
        "first_token": first_token,
        "cls_index": random.integers(0, lengths),
        "window_ids": np.arange(rows) + (1 << 40),
        "example_indices": np.arange(rows) // 2,
        "n_best_size": draw(st.integers(1, 20)),
        "shard": "evaluate-base-0",
    }
    return Batch(starts, ends, dtype, windows)


def _values(random: np.random.Generator, kind: str, shape: tuple[int, int]) -> Floats:
    if kind == "tied":
        return random.choice(np.array(TIED, dtype=np.float32), shape)
    if kind == "bits":
        return random.integers(0, 1 << 32, shape, dtype=np.uint32).view(np.float32)
    return random.normal(0, 3, shape).astype(np.float32)


def _exact_in(dtype: torch.dtype, values: Floats) -> Floats:
    """Round to `dtype`; what is not finite there becomes 0."""
    exact: Floats = torch.from_numpy(values).to(dtype).float().numpy()
    return np.where(np.isfinite(exact), exact, np.float32(0))


def by_definition(batch: Batch) -> Records:
    """Sorted by value, then position, both descending; one window and one token at a time."""
    windows = batch.windows
    records: Records = np.zeros(len(windows["lengths"]), dtype=WINDOW_RECORD)
    for row, record in enumerate(records):
        first, length = windows["first_token"][row], windows["lengths"][row]
        count = min(length, windows["n_best_size"])
        record["window_id"] = windows["window_ids"][row]
        record["example_index"] = windows["example_indices"][row]
        record["flags"] = count | count << 8
        for kind, padded in (("start", batch.start_logits), ("end", batch.end_logits)):
            logits = padded[row, first : first + length]
            ranked = sorted(zip(logits.tolist(), range(length), strict=True), reverse=True)
            best = [token for _, token in ranked[:count]]
            record[f"{kind}_positions"][:count] = best
            record[f"{kind}_logits"][:count] = logits[best]
            record[f"null_{kind}_logit"] = logits[windows["cls_index"][row]]
    return records


def with_numba(batch: Batch) -> Records:
    starts, ends = batch.start_logits, batch.end_logits
    if batch.dtype == torch.float16:
        return extract_records(starts.astype(np.float16), ends.astype(np.float16), **batch.windows)
    return extract_records(starts, ends, **batch.windows)


def with_torch(batch: Batch, device: str = "cpu") -> Records:
    logits = (torch.from_numpy(logits) for logits in (batch.start_logits, batch.end_logits))
    starts, ends = (values.to(batch.dtype).to(device) for values in logits)
    return extract_on_device(starts, ends, **batch.windows)


def windows(num_windows: int, max_length: int, **changes: Any) -> dict[str, Any]:
    """Windows without padding, the null at 0."""
    rows = np.arange(num_windows)
    return {
        "lengths": np.full(num_windows, max_length),
        "first_token": np.zeros_like(rows),
        "cls_index": np.zeros_like(rows),
        "window_ids": rows + 40,
        "example_indices": rows,
        "n_best_size": 2,
        "shard": "evaluate-base-3",
    } | changes


@pytest.fixture(params=[False, True], ids=["subnormals kept", "subnormals flushed to zero"])
def flush(request: pytest.FixtureRequest) -> Iterator[Callable[[bool], None]]:
    """Turns flushing on while it is called with True, in the second run of a test."""

    def set_flush(active: bool) -> None:
        if not torch.set_flush_denormal(active and request.param) and request.param:
            pytest.skip("this processor cannot flush subnormal numbers to zero")

    yield set_flush
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=batches())
def test_every_backend_makes_the_bytes_of_the_definition(
    flush: Callable[[bool], None], device: str, batch: Batch
) -> None:
    expected = by_definition(batch).tobytes()
    flush(True)
    compiled, on_device = with_numba(batch), with_torch(batch, device)
    flush(False)
    assert compiled.tobytes() == expected
    assert on_device.tobytes() == expected


@pytest.mark.parametrize("device", DEVICES)
def test_the_last_position_of_the_longest_window_can_be_said(device: str) -> None:
    logits = np.zeros((1, 65536), dtype=np.float32)
    batch = Batch(logits, logits, torch.float32, windows(1, 65536))
    records = with_torch(batch, device)
    assert records["start_positions"][0, :2].tolist() == [65535, 65534]
    assert records.tobytes() == with_numba(batch).tobytes()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["start", "end"])
def test_a_logit_that_is_not_finite_is_the_same_error_everywhere(
    device: str, value: float, side: str
) -> None:
    starts, ends = np.zeros((2, 3, 5), dtype=np.float32)
    (starts if side == "start" else ends)[1, 4] = value
    places = windows(3, 5, first_token=np.array([0, 1, 0]), lengths=np.full(3, 4))
    batch = Batch(starts, ends, torch.float32, places)
    with pytest.raises(NumericalError) as on_host:
        with_numba(batch)
    with pytest.raises(NumericalError) as on_device:
        with_torch(batch, device)
    assert on_device.value.message.startswith(f"the {side} logit of token 3 in window 41 is {value}, ")
    assert str(on_device.value) == str(on_host.value)


def test_an_n_best_that_does_not_fit_into_a_record_is_the_users_mistake_there_too() -> None:
    logits = torch.zeros(1, 5)
    with pytest.raises(UserError, match="n_best_size is 21"):
        extract_on_device(logits, logits, **windows(1, 5, n_best_size=21))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
def test_other_types_are_refused_because_they_would_be_rounded_in_silence(dtype: torch.dtype) -> None:
    logits = torch.zeros(1, 5, dtype=dtype)
    with pytest.raises(ValueError, match=f"must be float32, float16 or bfloat16, not {dtype}"):
        extract_on_device(logits, logits, **windows(1, 5))

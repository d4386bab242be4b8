from typing import Any

import numpy as np
import pytest

from rankfold.errors import NumericalError, UserError
from rankfold.nbest.extract import extract_records
from rankfold.nbest.records import Records, num_ends, num_starts


def extract(
    start_logits: list[list[float]], end_logits: list[list[float]] | None = None, **changes: Any
) -> Records:
    """Records of right-padded float32 windows with the null at 0, numbered from 40."""
    starts = np.array(start_logits, dtype=changes.pop("dtype", np.float32))
    rows = np.arange(len(starts))
    arguments: dict[str, Any] = {
        "lengths": np.full(len(starts), starts.shape[1]),
        "first_token": np.zeros_like(rows),
        "cls_index": np.zeros_like(rows),
        "window_ids": rows + 40,
        "example_indices": rows // 2,
        "n_best_size": 2,
        "shard": "evaluate-base-3",
    }
    ends = starts if end_logits is None else np.array(end_logits, dtype=starts.dtype)
    return extract_records(starts, ends, **(arguments | changes))


def test_the_best_come_first_and_of_equals_the_higher_position() -> None:
    records = extract([[1, 5, 3, 5]], [[2, 2, 2, 2]], n_best_size=3)
    assert records["start_positions"][0, :3].tolist() == [3, 1, 2]
    assert records["start_logits"][0, :3].tolist() == [5, 5, 3]
    assert records["end_positions"][0, :3].tolist() == [3, 2, 1]


def test_windows_and_examples_keep_their_numbers() -> None:
    records = extract([[0, 1]] * 3)
    assert records["window_id"].tolist() == [40, 41, 42]
    assert records["example_index"].tolist() == [0, 0, 1]


def test_the_zeros_tie_and_each_keeps_its_sign() -> None:
    records = extract([[0.0, -0.0, -1.0]])
    assert records["start_positions"][0, :2].tolist() == [1, 0]
    assert np.signbit(records["start_logits"][0, :2]).tolist() == [True, False]


def test_padding_on_the_left_changes_nothing() -> None:
    right = extract([[1, 7, 3, 99]], lengths=np.array([3]), cls_index=np.array([2]))
    left = extract([[99, 1, 7, 3]], lengths=np.array([3]), first_token=np.array([1]), cls_index=np.array([2]))
    assert left.tobytes() == right.tobytes()


def test_what_stands_in_the_padding_may_be_nan() -> None:
    records = extract([[1, 7, np.nan, np.inf]], lengths=np.array([2]))
    assert records["start_logits"][0, :2].tolist() == [7, 1]


def test_a_window_shorter_than_the_n_best_leaves_places_at_zero() -> None:
    records = extract([[4, 5, 0]], lengths=np.array([2]), n_best_size=20)
    assert (num_starts(records)[0], num_ends(records)[0]) == (2, 2)
    assert records["start_positions"][0].tolist() == [1, 0] + [0] * 18
    assert records["start_logits"][0].tolist() == [5, 4] + [0] * 18


def test_the_null_is_read_at_the_windows_own_cls_position() -> None:
    records = extract([[1, 2, 3]] * 2, [[4, 5, 6]] * 2, cls_index=np.array([0, 2]))
    assert records["null_start_logit"].tolist() == [1, 3]
    assert records["null_end_logit"].tolist() == [4, 6]


def test_half_precision_is_upcast_and_nothing_is_lost() -> None:
    half = extract([[6e-8, 65504.0]], dtype=np.float16)
    assert half["start_logits"][0, :2].tolist() == [65504.0, float(np.float16(6e-8))]


def test_logits_may_be_a_read_only_view_of_something_larger() -> None:
    both = np.random.default_rng(5).normal(size=(3, 40, 2)).astype(np.float32)
    both.flags.writeable = False
    rows = np.arange(6)[::2] // 2
    arguments: dict[str, Any] = {"lengths": rows + 38, "first_token": 2 - rows, "cls_index": rows}
    arguments |= {"window_ids": rows, "example_indices": rows, "n_best_size": 20, "shard": ""}
    views = extract_records(both[:, :, 0], both[:, :, 1], **arguments)
    copies = extract_records(both[:, :, 0].copy(), both[:, :, 1].copy(), **arguments)
    assert views.tobytes() == copies.tobytes()


def test_a_batch_may_be_empty() -> None:
    nobody = np.empty((0, 4), dtype=np.float32)
    nothing = np.empty(0, dtype=np.int64)
    records = extract_records(
        nobody,
        nobody,
        lengths=nothing,
        first_token=nothing,
        cls_index=nothing,
        window_ids=nothing,
        example_indices=nothing,
        n_best_size=20,
        shard="evaluate-base-0",
    )
    assert records.shape == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_names_the_window_and_the_shard(value: float) -> None:
    with pytest.raises(NumericalError) as caught:
        extract([[0, 1, 2], [0, 1, value]])
    assert caught.value.where == "evaluate-base-3"
    assert caught.value.message == f"the start logit of token 2 in window 41 is {value}, not a finite number"


def test_the_position_of_a_broken_logit_does_not_count_padding() -> None:
    with pytest.raises(NumericalError, match="the end logit of token 1 in window 40 is nan"):
        extract([[0, 1, 2]], [[9, 0, np.nan]], lengths=np.array([2]), first_token=np.array([1]))


def test_other_windows_with_broken_logits_are_counted() -> None:
    with pytest.raises(NumericalError, match=r"window 40 is nan.*\(2 more windows of this batch are"):
        extract([[np.nan, np.nan], [0, np.nan], [np.inf, 0]])


@pytest.mark.parametrize("size", [0, 21])
def test_an_n_best_that_does_not_fit_into_a_record_is_the_users_mistake(size: int) -> None:
    with pytest.raises(UserError, match=f"n_best_size is {size}; a window record holds 1 to 20"):
        extract([[1, 2]], n_best_size=size)


def test_a_window_longer_than_a_position_can_say_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="65537 tokens long; a window record has room for 65536"):
        extract([[0.0] * 65537])


def test_the_last_position_of_the_longest_window_can_be_said() -> None:
    records = extract([[0.0] * 65536])
    assert records["start_positions"][0, :2].tolist() == [65535, 65534]


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": np.array([0])},
        {"lengths": np.array([4])},
        {"first_token": np.array([1])},
        {"first_token": np.array([-1])},
        {"cls_index": np.array([-1])},
        {"cls_index": np.array([3])},
    ],
    ids=str,
)
def test_positions_outside_of_the_window_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        extract([[1, 2, 3]], **changes)


@pytest.mark.parametrize("name", ["lengths", "first_token", "cls_index"])
def test_places_of_another_number_of_windows_are_refused(name: str) -> None:
    changes: dict[str, Any] = {name: np.array([1])}
    with pytest.raises(ValueError, match="2 windows, but lengths, first_token and cls_index are"):
        extract([[1, 2, 3]] * 2, **changes)


def test_double_precision_is_refused_because_it_would_be_rounded_in_silence() -> None:
    with pytest.raises(ValueError, match="must be float32 or float16, not float64"):
        extract([[1, 2]], dtype=np.float64)


def test_starts_and_ends_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"start logits are \(1, 2\), end logits are \(1, 3\)"):
        extract([[1, 2]], [[1, 2, 3]])

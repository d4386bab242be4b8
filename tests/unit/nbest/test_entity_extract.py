"""Records from the logits of a padded batch."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from rankfold.errors import NumericalError
from rankfold.nbest.entity_extract import TaggedWindows, extract_entities
from rankfold.nbest.entity_records import CANDIDATE, PREDICTED, EntityRecords

B, I, O = 1, 2, 0  # noqa: E741 - the letters of the tags
WINDOWS = TaggedWindows(
    window_ids=np.array([70, 71]),
    examples=np.array([30, 31]),
    continues=np.array([False, True]),
    owned=np.array([[0, 3], [1, 2]]),
    row_starts=np.array([0, 3, 5]),
    # Token 0 is special; token 2 of the first window carries no tag.
    positions=np.array([1, 3, 4, 1, 2]),
    char_starts=np.array([0, 6, 9, 100, 105]),
    char_ends=np.array([5, 8, 12, 104, 110]),
)
FIRST, SECOND = [O, B, B, I, O, O], [O, I, B]
"""The tags that the logits of the windows say, in all tokens."""


def logits(*, on_left: bool = False, padding: float = 1e9) -> npt.NDArray[np.float32]:
    batch = np.full((2, 8, 3), padding, np.float32)
    for row, tags in enumerate((FIRST, SECOND)):
        place = slice(8 - len(tags), 8) if on_left else slice(0, len(tags))
        batch[row, place] = np.eye(3)[tags] * 5
    return batch


def extract(batch: npt.NDArray[np.float32], *, on_left: bool = False) -> EntityRecords:
    lengths = np.array([len(FIRST), len(SECOND)])
    return extract_entities(
        batch,
        WINDOWS,
        first_token=8 - lengths if on_left else np.zeros(2, np.int64),
        n_best_size=4,
        max_answer_length=2,
        constrained=True,
        shard="shard 0",
    )


def test_records_have_the_characters_of_their_first_and_last_token() -> None:
    records = extract(logits())
    predicted = records[(records["flags"] & PREDICTED) > 0]
    names = ["window_id", "example_index", "start_char", "end_char", "label"]
    assert predicted[names].tolist() == [(70, 30, 0, 8, 0), (71, 31, 105, 110, 0)]
    assert ((records["flags"] & CANDIDATE) > 0).all()
    assert (records["flags"] >> 8 == 4).all()


def test_a_special_token_or_one_without_a_tag_is_in_no_entity() -> None:
    batch = logits()
    batch[0, [0, 2, 5]] = [9, 9, 9]
    assert extract(batch).tobytes() == extract(logits()).tobytes()


@pytest.mark.parametrize("padding", [0.0, 1e9, float("nan")])
@pytest.mark.parametrize("on_left", [True, False])
def test_padding_changes_no_bit(on_left: bool, padding: float) -> None:
    padded = extract(logits(on_left=on_left, padding=padding), on_left=on_left)
    assert padded.tobytes() == extract(logits()).tobytes()


def test_records_stand_by_window_best_first() -> None:
    records = extract(logits())
    assert records["window_id"].tolist() == [70] * 4 + [71]
    assert (np.diff(records["score"][:4]) <= 0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_logit_that_is_no_number_names_the_window_and_the_shard(value: float) -> None:
    batch = logits()
    batch[1, 2, 1] = value
    with pytest.raises(NumericalError, match=f"tag 1 of token 2 in window 71 is {value}") as caught:
        extract(batch)
    assert caught.value.where == "shard 0"


def test_a_head_of_another_task_is_refused() -> None:
    with pytest.raises(ValueError, match="logits of 2 tags"):
        extract(logits()[:, :, :2])


def test_a_batch_of_windows_without_a_token_has_no_entities() -> None:
    nothing = replace(
        WINDOWS,
        owned=np.zeros((2, 2), np.int64),
        row_starts=np.zeros(3, np.int64),
        positions=np.empty(0, np.int64),
        char_starts=np.empty(0, np.int64),
        char_ends=np.empty(0, np.int64),
    )
    records = extract_entities(
        logits(),
        nothing,
        first_token=np.zeros(2, np.int64),
        n_best_size=4,
        max_answer_length=2,
        constrained=True,
        shard="shard 0",
    )
    assert len(records) == 0

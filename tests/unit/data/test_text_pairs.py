"""Texts and pairs as a model gets them."""

import pytest
from models import encoder_tokenizer

from rankfold.data.text_pairs import encode_texts
from rankfold.errors import DataError

TOKENIZER = encoder_tokenizer()
LONG = "the river flows " * 10


def test_texts_with_and_without_a_pair_keep_their_places() -> None:
    encoded = encode_texts(["the", "river", "the"], [None, "sea", None], TOKENIZER, 16)
    shown = [TOKENIZER.decode(ids) for ids in encoded.model_inputs["input_ids"]]
    assert shown == ["[CLS] the [SEP]", "[CLS] river [SEP] sea [SEP]", "[CLS] the [SEP]"]
    assert encoded.model_inputs["token_type_ids"] == [[0] * 3, [0, 0, 0, 1, 1], [0] * 3]
    assert encoded.is_truncated == [False] * 3


def test_what_fits_exactly_is_not_cut() -> None:
    fitting = len(encode_texts([LONG], [None], TOKENIZER, 100).model_inputs["input_ids"][0])
    assert encode_texts([LONG], [None], TOKENIZER, fitting).is_truncated == [False]
    cut = encode_texts([LONG, "sea"], [None, None], TOKENIZER, fitting - 1)
    assert cut.is_truncated == [True, False]
    assert len(cut.model_inputs["input_ids"][0]) == fitting - 1
    assert TOKENIZER.decode(cut.model_inputs["input_ids"][0]).endswith("[SEP]")


@pytest.mark.parametrize(("text", "pair"), [(LONG, "the old sea"), ("the old sea", LONG)])
def test_of_a_pair_the_longer_side_is_cut(text: str, pair: str) -> None:
    encoded = encode_texts([text], [pair], TOKENIZER, 20)
    assert encoded.is_truncated == [True]
    shown = TOKENIZER.decode(encoded.model_inputs["input_ids"][0])
    assert (len(encoded.model_inputs["input_ids"][0]), "the old sea" in shown) == (20, True)


def test_an_empty_text_has_a_token_even_without_special_ones() -> None:
    bare = encoder_tokenizer(None)
    encoded = encode_texts(["", "the"], [None, None], bare, 8)
    assert encoded.model_inputs["input_ids"][0] == [bare.pad_token_id]
    assert encoded.model_inputs["token_type_ids"] == [[0], [0]]


@pytest.mark.parametrize(("pair", "least"), [(None, 3), ("sea", 5)])
def test_a_length_without_room_for_a_text_is_an_error(pair: str | None, least: int) -> None:
    with pytest.raises(DataError, match=f"max_length {least - 1} leaves no room"):
        encode_texts(["the"], [pair], TOKENIZER, least - 1)
    assert len(encode_texts(["the"], [pair], TOKENIZER, least).model_inputs["input_ids"][0]) == least

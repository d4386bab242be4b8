"""Windows over texts, and which of their tokens carry tags."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import CLS_LAST, chat_tokenizer, encoder_tokenizer, recipe
from transformers import PreTrainedTokenizerBase

from rankfold.data.text_windows import WindowedText, _carriers, owned_tokens, window_texts
from rankfold.errors import DataError
from rankfold.recipe.schema import Data

TOKENIZERS = {
    "cls first": encoder_tokenizer(),
    "cls last": encoder_tokenizer(CLS_LAST, padding_side="left"),
    "bytes, no cls": chat_tokenizer(),
}
MAX_LENGTH, DOC_STRIDE = 14, 5
WORDS = ["Anna", "Keller's", "lives", "in Ulm.", "北京，", "İ", "😀", "👩‍👩‍👧", "\u200b", " \n", "é"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)

every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())
every_or_first = pytest.mark.parametrize("label_all_tokens", [True, False])


def settings(max_length: int = MAX_LENGTH, doc_stride: int = DOC_STRIDE, **values: bool) -> Data:
    sections = {"max_length": max_length, "doc_stride": doc_stride, **values}
    return recipe("token_classification", data=sections).data


def windowed(text: str, tokenizer: PreTrainedTokenizerBase, data: Data | None = None) -> WindowedText:
    (found,) = window_texts([text], tokenizer, data or settings())
    return found


def carriers(text: str, tokenizer: PreTrainedTokenizerBase, **values: bool) -> list[str]:
    found = windowed(text, tokenizer, settings(256, **values))
    return [text[start:end] for start, end in zip(found.starts, found.ends, strict=True)]


@every_tokenizer
@every_or_first
@given(text=TEXTS)
def test_windows_show_and_own_every_carrier_of_one_long_window(
    tokenizer: PreTrainedTokenizerBase, text: str, label_all_tokens: bool
) -> None:
    whole = windowed(text, tokenizer, settings(1000, label_all_tokens=label_all_tokens))
    found = windowed(text, tokenizer, settings(label_all_tokens=label_all_tokens))
    assert len(whole.windows) == 1
    assert (found.starts, found.ends) == (whole.starts, whole.ends)
    ids = whole.windows[0].model_inputs["input_ids"]
    expected = [ids[position] for position in whole.windows[0].positions]
    owned: list[int] = []
    for window in found.windows:
        assert len(window.model_inputs["input_ids"]) <= MAX_LENGTH
        shown = [window.model_inputs["input_ids"][position] for position in window.positions]
        assert shown == expected[window.first : window.first + len(shown)]
        owned += range(window.first + window.own_start, window.first + window.own_stop)
    assert owned == list(range(len(expected)))


@every_tokenizer
@every_or_first
@given(text=TEXTS)
def test_carriers_show_every_character_that_a_tokenizer_keeps_once(
    tokenizer: PreTrainedTokenizerBase, text: str, label_all_tokens: bool
) -> None:
    found = windowed(text, tokenizer, settings(label_all_tokens=label_all_tokens))
    pairs = list(zip(found.starts, found.ends, strict=True))
    assert all(start < end for start, end in pairs)
    assert all(left_end <= right_start for (_, left_end), (right_start, _) in pairwise(pairs))
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    kept = {c for start, end in offsets for c in range(start, end) if not text[c].isspace()}
    assert kept <= {c for start, end in pairs for c in range(start, end)}


def test_subwords_carry_tags_of_their_own_unless_only_words_shall() -> None:
    tokenizer = TOKENIZERS["cls first"]
    pieces = carriers("Berlinerin, Anna", tokenizer)
    assert len(pieces) > 3
    assert "".join(pieces) == "Berlinerin,Anna"
    assert carriers("Berlinerin, Anna", tokenizer, label_all_tokens=False) == ["Berlinerin", ",", "Anna"]


def test_ideographs_carry_tags_one_by_one() -> None:
    for label_all_tokens in (True, False):
        found = carriers("李四在 Ulm。", TOKENIZERS["cls first"], label_all_tokens=label_all_tokens)
        assert found[:3] == ["李", "四", "在"]
        assert found[-1] == "。"


def test_the_bytes_of_one_character_are_one_carrier() -> None:
    text = "İ😀北x"
    tokenizer = TOKENIZERS["bytes, no cls"]
    assert len(tokenizer(text)["input_ids"]) > len(text)
    assert carriers(text, tokenizer) == list(text)


@pytest.mark.parametrize("every_token", [True, False])
def test_the_mark_of_a_word_s_beginning_leaves_the_tag_to_the_word(every_token: bool) -> None:
    # What SentencePiece makes of it: ▁ 伊拉克 ▁ Ulm, where the marks have the characters of their neighbours.
    offsets, words = [(0, 1), (0, 3), (3, 4), (4, 7)], [0, 0, 1, 1]
    carriers = _carriers("伊拉克 Ulm", offsets, words, every_token=every_token)
    assert carriers == ([1, 3], [0, 4], [3, 7])


def test_a_character_that_lower_casing_makes_two_of_keeps_its_place() -> None:
    assert carriers("İx İ", TOKENIZERS["cls first"]) == ["İ", "x", "İ"]


def test_white_space_carries_nothing_and_is_cut_from_tokens() -> None:
    for tokenizer in TOKENIZERS.values():
        assert all(piece == piece.strip() for piece in carriers(" Anna \n\n Ulm  ", tokenizer))
        assert carriers(" \n ", tokenizer) == []


def test_a_word_that_a_window_cuts_is_whole_in_the_character_it_ends_at() -> None:
    text = "Anna " + "berlinerin" * 8
    found = windowed(text, TOKENIZERS["cls first"], settings(label_all_tokens=False))
    assert len(found.windows) > 1
    assert (found.starts, found.ends) == ([0, 5], [4, len(text)])
    assert [len(window.positions) for window in found.windows[1:]] == [0] * (len(found.windows) - 1)


def test_texts_come_back_in_their_order_empty_ones_too() -> None:
    texts = ["Ulm " * 40, "", "Anna"]
    found = list(window_texts(texts, TOKENIZERS["cls first"], settings()))
    assert [text.starts for text in found] == [list(range(0, 160, 4)), [], [0]]
    assert [len(text.windows) > 1 for text in found] == [True, False, False]


@given(room=st.integers(2, 12), data=st.data(), length=st.integers(0, 60))
def test_a_token_is_owned_by_the_first_window_that_shows_it_with_the_most_context(
    room: int, data: st.DataObject, length: int
) -> None:
    stride = data.draw(st.integers(1, room - 1))
    stretches = [(0, min(room, length))]
    while stretches[-1][1] < length:
        start = stretches[-1][0] + room - stride
        stretches.append((start, min(start + room, length)))
    owned = owned_tokens(stretches)
    for token in range(length):
        context = {
            window: min(token - start, stop - 1 - token)
            for window, (start, stop) in enumerate(stretches)
            if start <= token < stop
        }
        owner = max(context, key=lambda window: (context[window], -window))
        owners = [window for window, (start, stop) in enumerate(owned) if start <= token < stop]
        assert owners == [owner]


@every_tokenizer
def test_a_window_without_room_beyond_doc_stride_is_refused_with_both_numbers(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=False)
    assert windowed("Anna " * 30, tokenizer, settings(DOC_STRIDE + special + 1))
    with pytest.raises(DataError) as caught:
        windowed("Anna", tokenizer, settings(DOC_STRIDE + special))
    assert caught.value.message == (
        f"max_length {DOC_STRIDE + special} leaves {DOC_STRIDE} tokens for text beside {special} special "
        f"tokens, and windows cannot share doc_stride {DOC_STRIDE} of them"
    )
    assert caught.value.where == "data.doc_stride"

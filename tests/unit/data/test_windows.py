"""Windows over contexts: four kinds of tokenizer, since each puts its special tokens elsewhere."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import CLS_LAST, chat_tokenizer, encoder_tokenizer, recipe
from transformers import PreTrainedTokenizerBase

from rankfold.data.examples import Answer, QuestionExample
from rankfold.data.windows import NOT_CONTEXT, Window, answer_positions, make_windows
from rankfold.errors import DataError
from rankfold.recipe.schema import Data

TOKENIZERS = {
    "cls first": encoder_tokenizer(),
    "cls first, padding on the left": encoder_tokenizer(padding_side="left"),
    "cls last": encoder_tokenizer(CLS_LAST, padding_side="left"),
    "no cls": chat_tokenizer(),
}
MAX_LENGTH, DOC_STRIDE = 40, 10
WORDS = ["Anna", "Keller", "lives", "in", "Ulm", "the", "river", "Danube,", "flows", "北京", "\u200b", "é"]
CONTEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=60).map(" ".join)

every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())


def settings(max_length: int = MAX_LENGTH, doc_stride: int = DOC_STRIDE) -> Data:
    return recipe("extractive_qa", data={"max_length": max_length, "doc_stride": doc_stride}).data


def asked(context: str, *answers: Answer, question: str = "Where?") -> QuestionExample:
    return QuestionExample("q", question, context, answers)


def windows_of(example: QuestionExample, tokenizer: PreTrainedTokenizerBase) -> list[Window]:
    return make_windows([example], tokenizer, settings())


def context_offsets(window: Window) -> list[tuple[int, int]]:
    pairs = zip(window.offset_starts, window.offset_ends, strict=True)
    return [pair for pair in pairs if pair[0] != NOT_CONTEXT]


@every_tokenizer
@given(context=CONTEXTS)
def test_every_token_of_a_context_is_in_a_window_and_neighbours_share_doc_stride(
    tokenizer: PreTrainedTokenizerBase, context: str
) -> None:
    windows = [context_offsets(window) for window in windows_of(asked(context), tokenizer)]
    whole = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    joined = windows[0] + [offset for window in windows[1:] for offset in window[DOC_STRIDE:]]
    assert joined == [tuple(offset) for offset in whole]
    for left, right in pairwise(windows):
        assert left[-DOC_STRIDE:] == right[:DOC_STRIDE]


@every_tokenizer
def test_no_window_is_longer_than_max_length_and_all_but_the_last_are_full(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    windows = windows_of(asked("Ulm lies on the river. " * 20), tokenizer)
    lengths = [len(window.model_inputs["input_ids"]) for window in windows]
    assert len(windows) > 2
    assert set(lengths[:-1]) == {MAX_LENGTH}
    assert lengths[-1] <= MAX_LENGTH


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_question_is_in_front_and_behind_where_padding_is_on_the_left(side: str) -> None:
    tokenizer = encoder_tokenizer(padding_side=side)
    question = tokenizer("Where?", add_special_tokens=False)["input_ids"]
    for window in windows_of(asked("Ulm lies on the river. " * 20), tokenizer):
        ids = window.model_inputs["input_ids"]
        assert (ids[1 : 1 + len(question)] == question) == (side == "right")
        assert (ids[-1 - len(question) : -1] == question) == (side == "left")


def test_windows_stand_in_the_order_of_their_examples() -> None:
    examples = [asked("Ulm " * length) for length in (100, 1, 50)]
    windows = make_windows(examples, TOKENIZERS["cls first"], settings())
    owners = [window.example for window in windows]
    assert owners == sorted(owners)
    assert set(owners) == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "place"), [("cls first", 0), ("cls first, padding on the left", 0), ("cls last", -1)]
)
def test_no_answer_points_at_cls_wherever_the_tokenizer_puts_it(name: str, place: int) -> None:
    tokenizer = TOKENIZERS[name]
    for window in windows_of(asked("Ulm " * 60), tokenizer):
        ids = window.model_inputs["input_ids"]
        assert window.cls_index == range(len(ids))[place]
        assert ids[window.cls_index] == tokenizer.cls_token_id


def test_no_answer_points_at_the_first_token_where_there_is_no_cls() -> None:
    assert {window.cls_index for window in windows_of(asked("Ulm " * 60), TOKENIZERS["no cls"])} == {0}


@every_tokenizer
@given(context=CONTEXTS, data=st.data())
def test_an_answer_is_found_again_where_a_window_shows_all_of_it(
    tokenizer: PreTrainedTokenizerBase, context: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(context) - 1))
    answer = Answer(context[start : data.draw(st.integers(start + 1, len(context)))], start)
    example = asked(context, answer)
    end = start + len(answer.text)
    for window in windows_of(example, tokenizer):
        shown = context_offsets(window)
        first, last = answer_positions(window, example)
        if (first, last) == (window.cls_index, window.cls_index):
            # Cut, or nothing in it that the tokenizer keeps.
            kept = [offset for offset in shown if offset[1] > start and offset[0] < end]
            assert not kept or shown[0][0] > start or shown[-1][1] < end
            continue
        text = context[window.offset_starts[first] : window.offset_ends[last]]
        assert visible(answer.text) in visible(text)
        # No token too many: the outermost ones hold a character of the answer.
        assert window.offset_ends[first] > start
        assert window.offset_starts[last] < end


def visible(text: str) -> str:
    """Without what a tokenizer may drop at the edge of a token."""
    return text.replace(" ", "").replace("\u200b", "")


@every_tokenizer
def test_an_answer_no_longer_than_doc_stride_is_whole_in_some_window(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    context = " ".join(f"Ulm{number}" for number in range(40))
    for number in range(40):
        answer = Answer(f"Ulm{number}", context.index(f"Ulm{number}"))
        example = asked(context, answer)
        windows = windows_of(example, tokenizer)
        assert any(answer_positions(window, example)[0] != window.cls_index for window in windows)


@every_tokenizer
def test_an_answer_that_a_window_cuts_is_no_answer_there(tokenizer: PreTrainedTokenizerBase) -> None:
    context = "Ulm lies on the river. " * 20
    example = asked(context, Answer(context.strip(), 0))
    for window in windows_of(example, tokenizer):
        assert answer_positions(window, example) == (window.cls_index, window.cls_index)


@every_tokenizer
def test_a_question_without_an_answer_has_the_null_in_every_window(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    example = asked("Ulm " * 60)
    for window in windows_of(example, tokenizer):
        assert answer_positions(window, example) == (window.cls_index, window.cls_index)


@pytest.mark.parametrize("text", [" Ulm", "Ulm ", " Ulm ", "Ulm\u200b", "\u200bUlm"])
def test_spaces_at_the_edge_of_a_gold_answer_do_not_hide_it(text: str) -> None:
    context = "She lives in  Ulm\u200b  now." if text[-1] != " " else "She lives in  Ulm  now."
    context = context if text in context else "She lives in \u200bUlm now."
    example = asked(context, Answer(text, context.index(text)))
    (window,) = windows_of(example, TOKENIZERS["cls first"])
    first, last = answer_positions(window, example)
    assert context[window.offset_starts[first] : window.offset_ends[last]] == "Ulm"


@every_tokenizer
def test_a_question_that_leaves_no_room_beyond_doc_stride_is_named_with_both_numbers(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    example = asked("Ulm " * 60, question="Who lives in the old town? " * 5)
    question = len(tokenizer(example.question.strip(), add_special_tokens=False)["input_ids"])
    special = tokenizer.num_special_tokens_to_add(pair=True)
    full = question + special + DOC_STRIDE
    with pytest.raises(DataError) as caught:
        make_windows([asked("Ulm"), example], tokenizer, settings(max_length=full))
    assert caught.value.message == (
        f"question 'q' has {question} tokens, so max_length {full} leaves {DOC_STRIDE} tokens for context, "
        f"and windows cannot share doc_stride {DOC_STRIDE} of them"
    )
    assert caught.value.where == "data.doc_stride"
    assert f"below {DOC_STRIDE}" in caught.value.remedy
    assert make_windows([example], tokenizer, settings(max_length=full + 1))


def test_the_tokenizer_is_left_as_it_came() -> None:
    tokenizer = encoder_tokenizer()
    windows_of(asked("Ulm " * 60), tokenizer)
    assert json.loads(tokenizer.backend_tokenizer.to_str())["truncation"] is None


def test_a_tokenizer_that_cuts_on_the_left_makes_the_same_windows() -> None:
    tokenizer = encoder_tokenizer()
    example = asked("Anna lives in Ulm by the river. " * 20)
    expected = windows_of(example, tokenizer)
    tokenizer.truncation_side = "left"
    assert windows_of(example, tokenizer) == expected
    assert tokenizer.truncation_side == "left"

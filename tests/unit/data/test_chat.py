from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import CHATML, chat_tokenizer, unpack_qwen2_tokenizer
from transformers import PreTrainedTokenizerBase

from rankfold.data.chat import Message, chat_ids, prompt_ids, stop_ids
from rankfold.errors import ModelError

CHAT: Sequence[Message] = (
    {"role": "system", "content": "Find the entities."},
    {"role": "user", "content": "Anna Keller lives in Ulm."},
)
TINY = chat_tokenizer()


@pytest.fixture(scope="session")
def qwen2(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    return unpack_qwen2_tokenizer(shared_data / "qwen2_tokenizer", tmp_path_factory.mktemp("qwen2"))


@given(text=st.text(max_size=40), answer=st.text(max_size=40))
def test_training_shows_the_very_prompt_that_generation_starts_from(text: str, answer: str) -> None:
    messages: list[Message] = [{"role": "user", "content": text}]
    assert chat_ids(TINY, messages, answer).prompt == prompt_ids(TINY, messages)


@given(answer=st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=40))
def test_the_answer_s_tokens_are_the_answer_and_the_end_of_turn_and_nothing_else(answer: str) -> None:
    ids = chat_ids(TINY, CHAT, answer).answer
    assert TINY.decode(ids) == answer + "<|im_end|>"


def test_qwen2_s_own_template_and_tokens_keep_prompt_and_answer_apart(qwen2: PreTrainedTokenizerBase) -> None:
    chat: list[Message] = [
        {"role": "system", "content": "找出实体。"},
        {"role": "user", "content": "张三住在北京"},
    ]
    ids = chat_ids(qwen2, chat, '{"text": "张三", "label": "人名"}')
    assert ids.prompt == prompt_ids(qwen2, chat)
    assert qwen2.decode(ids.prompt).endswith("张三住在北京<|im_end|>\n<|im_start|>assistant\n")
    assert qwen2.decode(ids.answer) == '{"text": "张三", "label": "人名"}<|im_end|>'


def test_qwen2_stops_at_the_end_of_a_turn(qwen2: PreTrainedTokenizerBase) -> None:
    assert stop_ids(qwen2) == [qwen2.convert_tokens_to_ids("<|im_end|>")]


def test_the_template_s_end_of_turn_stops_beside_the_tokenizer_s_own() -> None:
    tokenizer = chat_tokenizer(CHATML)
    tokenizer.eos_token, tokenizer.extra_special_tokens = "<|endoftext|>", ["<|im_end|>"]
    assert stop_ids(tokenizer) == tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])


PHI = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% else %}<|endoftext|>{% endif %}"
)
HARMONY = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}"
    "{% if m['role'] == 'assistant' %}<|im_start|>final\n{% else %}\n{% endif %}"
    "{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "learned"),
    [(PHI, "Ulm<|im_end|>"), (HARMONY, "<|im_start|>final\nUlm<|im_end|>")],
    ids=["an end of text follows the turn", "a special token precedes the answer"],
)
def test_the_end_of_turn_is_the_first_special_token_behind_the_answer(template: str, learned: str) -> None:
    tokenizer = chat_tokenizer(template)
    assert (
        tokenizer.decode(chat_ids(tokenizer, CHAT, " Ulm " if "trim" in template else "Ulm").answer)
        == learned
    )
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in stop_ids(tokenizer)


def test_where_the_template_ends_a_turn_with_nothing_the_end_of_text_is_learned() -> None:
    tokenizer = chat_tokenizer("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    assert tokenizer.decode(chat_ids(tokenizer, CHAT, "Ulm").answer) == "Ulm\n<|im_end|>"


def test_a_turn_that_nothing_ends_is_refused() -> None:
    tokenizer = chat_tokenizer("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="says how a turn ends"):
        chat_ids(tokenizer, CHAT, "Ulm")


def test_a_template_that_rewrites_the_prompt_once_an_answer_follows_is_refused() -> None:
    counting = "{{ messages | length }} messages\n" + CHATML
    with pytest.raises(ModelError, match="renders the prompt differently"):
        chat_ids(chat_tokenizer(counting), CHAT, "Ulm")


def test_a_template_that_takes_no_system_message_says_so_and_what_to_do() -> None:
    gemma = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    tokenizer = chat_tokenizer(gemma + "{% endif %}" + CHATML)
    with pytest.raises(ModelError, match="System role not supported") as caught:
        prompt_ids(tokenizer, CHAT)
    assert "prompt.system" in caught.value.remedy
    assert prompt_ids(tokenizer, CHAT[1:])


def test_a_tokenizer_without_a_chat_template_is_refused() -> None:
    with pytest.raises(ModelError, match="has no chat template"):
        prompt_ids(chat_tokenizer(None), CHAT)

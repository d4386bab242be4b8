import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import CHATML, chat_tokenizer, unpack_qwen2_tokenizer
from transformers import PreTrainedTokenizerBase

from rankfold.data.chat import Message, chat_ids, conversation_turns, prompt_ids, stop_ids
from rankfold.data.collate import IGNORED_LABEL
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


DIALOGUE: Sequence[Message] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who lives in Ulm?"},
    {"role": "assistant", "content": "Anna Keller."},
    {"role": "user", "content": "And in Berlin?"},
    {"role": "assistant", "content": "Paul."},
)
MISTRAL = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] }}<|im_end|>"
    "{% else %}[INST] {{ m['content'] }} [/INST]{% endif %}{% endfor %}"
)


def learned(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[str]:
    """The runs of tokens that have labels, decoded."""
    turns = conversation_turns(tokenizer, messages)
    assert len(turns.labels) == len(turns.input_ids)
    assert all(
        label in (index, IGNORED_LABEL) for index, label in zip(turns.input_ids, turns.labels, strict=True)
    )
    runs = itertools.groupby(turns.labels, key=lambda label: label == IGNORED_LABEL)
    return [tokenizer.decode(list(run)) for ignored, run in runs if not ignored]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML, ["Anna Keller.<|im_end|>", "Paul.<|im_end|>"]),
        (PHI, ["Anna Keller.<|im_end|>", "Paul.<|im_end|>"]),
        (HARMONY, ["<|im_start|>final\nAnna Keller.<|im_end|>", "<|im_start|>final\nPaul.<|im_end|>"]),
        (MISTRAL, [" Anna Keller.<|im_end|>", " Paul.<|im_end|>"]),
    ],
    ids=["chatml", "phi", "harmony", "mistral"],
)
def test_the_assistant_s_turns_and_their_end_marks_are_learned_and_nothing_else(
    template: str, said: list[str]
) -> None:
    tokenizer = chat_tokenizer(template)
    assert learned(tokenizer, DIALOGUE) == said
    whole = tokenizer.apply_chat_template(list(DIALOGUE), tokenize=False)
    shown = tokenizer.decode(conversation_turns(tokenizer, DIALOGUE).input_ids)
    # What the template writes behind the last turn is never generated.
    assert whole.startswith(shown)
    assert shown.endswith("Paul.<|im_end|>")


def test_qwen2_s_own_template_cuts_every_turn(qwen2: PreTrainedTokenizerBase) -> None:
    assert learned(qwen2, DIALOGUE) == ["Anna Keller.<|im_end|>", "Paul.<|im_end|>"]
    assert learned(qwen2, DIALOGUE[1:]) == ["Anna Keller.<|im_end|>", "Paul.<|im_end|>"]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=20),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_said_is_learned_to_the_letter(answers: list[str]) -> None:
    messages: list[Message] = []
    for answer in answers:
        messages += [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
    assert learned(TINY, messages) == [f"{answer}<|im_end|>" for answer in answers]


def test_the_last_turn_is_asked_for_with_the_ids_that_training_showed() -> None:
    turns = conversation_turns(TINY, DIALOGUE)
    assert turns.prompt + turns.said[-1] == turns.input_ids
    assert TINY.decode(turns.prompt) == TINY.apply_chat_template(
        list(DIALOGUE[:-1]), tokenize=False, add_generation_prompt=True
    )


def test_a_turn_that_repeats_what_was_asked_is_cut_where_it_stands() -> None:
    messages: list[Message] = [{"role": "user", "content": "Ulm"}, {"role": "assistant", "content": "Ulm"}]
    assert learned(TINY, messages * 2) == ["Ulm<|im_end|>"] * 2


FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] if loop.last else m['content'] | replace('so ', '') }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Takes something out of what was said before, as templates do with thoughts."""


def test_an_answer_that_the_template_changes_is_refused_with_its_place() -> None:
    messages: list[Message] = [*DIALOGUE[:2], {"role": "assistant", "content": "so Anna"}, *DIALOGUE[3:]]
    with pytest.raises(ModelError, match=r'changes what the assistant says.*"so Anna"') as caught:
        conversation_turns(chat_tokenizer(FORGETFUL), messages, where="conversation 7")
    assert caught.value.where == "conversation 7"
    assert "thoughts" in caught.value.remedy
    assert learned(chat_tokenizer(FORGETFUL), DIALOGUE) == ["Anna Keller.<|im_end|>", "Paul.<|im_end|>"]


def test_a_turn_that_only_the_next_one_s_start_ends_is_refused() -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    with pytest.raises(ModelError, match="does not end all turns") as caught:
        conversation_turns(chat_tokenizer(template), DIALOGUE)
    assert "a conversation of its own" in caught.value.remedy
    assert learned(chat_tokenizer(template), DIALOGUE[:3]) == ["Anna Keller.\n<|im_end|>"]

"""What the model is asked and what it is taught to answer."""

import json

import pytest

from rankfold.data.examples import Span
from rankfold.entities.prompt import CHINESE, ENGLISH, Wording, answer_text, messages, wording
from rankfold.recipe.schema import Prompt


def test_the_english_prompt_reads_like_this() -> None:
    assert messages("Ann lives in Ulm.", ["person", "place"], ENGLISH) == [
        {
            "role": "system",
            "content": "Find the entities in the text. Labels: person, place. "
            'For each entity, in order, write one line {"text": "...", "label": "..."}. '
            "If there are none, write: No entities.",
        },
        {"role": "user", "content": "Ann lives in Ulm."},
    ]


def test_the_chinese_prompt_reads_like_this() -> None:
    assert messages("王明在北京。", ["人名", "地点"], CHINESE) == [
        {
            "role": "system",
            "content": "找出文本中的实体。类别：人名、地点。"
            '按出现的顺序，每个实体写一行 {"text": "…", "label": "…"}。没有实体时写：没有实体。',
        },
        {"role": "user", "content": "王明在北京。"},
    ]


def test_a_text_with_braces_or_placeholders_stays_as_it_is() -> None:
    text = 'f"{x}" {labels} {text} {no_entities} {0} \\1'
    assert messages(text, ["{text}"], ENGLISH)[1]["content"] == text
    assert "Labels: {text}." in messages(text, ["{text}"], ENGLISH)[0]["content"]


def test_a_recipe_replaces_only_the_words_it_gives() -> None:
    words = wording(Prompt(language="zh", user="文本：{text}"))
    assert words == Wording(CHINESE.system, "文本：{text}", CHINESE.no_entities, "、")
    assert wording(Prompt()) == ENGLISH


def test_an_empty_system_message_is_left_out() -> None:
    words = wording(Prompt(system="", user="{labels}: {text}"))
    assert messages("Ulm", ["place"], words) == [{"role": "user", "content": "place: Ulm"}]


def test_the_answer_has_one_json_object_a_line_in_order_of_position() -> None:
    text = 'Ann "A" Lee 在\n北京'
    answer = answer_text([Span(14, 16, "地点"), Span(0, 11, "person")], text, ENGLISH)
    assert answer == ('{"text": "Ann \\"A\\" Lee", "label": "person"}\n{"text": "北京", "label": "地点"}')
    assert [json.loads(line)["text"] for line in answer.splitlines()] == ['Ann "A" Lee', "北京"]


@pytest.mark.parametrize("words", [ENGLISH, CHINESE])
def test_an_answer_without_entities_is_the_agreed_sentence(words: Wording) -> None:
    assert answer_text([], "Nothing here.", words) == words.no_entities

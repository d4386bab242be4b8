"""Instruction data in every layout that it comes in."""

from typing import Any

import pytest

from rankfold.data.conversations import conversation_of_row
from rankfold.data.examples import ChatExample, Message
from rankfold.errors import DataError

ASKED = Message("user", "Where is Ulm?")
ANSWERED = Message("assistant", "On the Danube.")
SYSTEM = Message("system", "Be brief.")


def conversation(**row: Any) -> tuple[Message, ...]:
    found = conversation_of_row({"id": "7", **row}, "chats.jsonl:7")
    assert found == ChatExample("7", found.messages)
    return found.messages


@pytest.mark.parametrize(
    "row",
    [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Where is Ulm?"},
                {"role": "assistant", "content": "On the Danube."},
            ]
        },
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "Where is Ulm?"},
                {"from": "gpt", "value": "On the Danube."},
            ]
        },
        {
            "system": "Be brief.",
            "conversations": [
                {"from": "user", "value": "Where is Ulm?"},
                {"from": "assistant", "value": "On the Danube."},
            ],
        },
        {"system": "Be brief.", "instruction": "Where is Ulm?", "input": "", "output": "On the Danube."},
        {"system": "Be brief.", "prompt": "Where is Ulm?", "completion": "On the Danube."},
        {
            "prompt": [
                {"role": "developer", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Where is "}, {"type": "text", "text": "Ulm?"}],
                },
            ],
            "completion": [{"role": "assistant", "content": "On the Danube."}],
        },
    ],
    ids=[
        "openai",
        "sharegpt",
        "sharegpt with system",
        "alpaca",
        "prompt and completion",
        "lists of messages",
    ],
)
def test_every_layout_says_the_same_conversation(row: dict[str, Any]) -> None:
    assert conversation(**row) == (SYSTEM, ASKED, ANSWERED)


def test_an_input_stands_below_its_instruction() -> None:
    asked, _ = conversation(instruction="Translate.", input="Guten Tag", output="Hello")
    assert asked == Message("user", "Translate.\n\nGuten Tag")


def test_the_first_layout_that_is_there_counts() -> None:
    messages = [{"role": "user", "content": "Where is Ulm?"}]
    row = {"prompt": "unread", "messages": messages, "conversations": None, "system": "unread"}
    assert conversation(**row) == (ASKED,)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Where is Ulm?"},
        {"prompt": "Where is Ulm?", "completion": ""},
        {"instruction": "Where is Ulm?", "output": None},
        {
            "instruction": "Where is Ulm?",
            "input": float("nan"),
            "output": float("nan"),
            "system": float("nan"),
        },
    ],
)
def test_what_is_only_asked_can_be_answered_by_a_model(row: dict[str, Any]) -> None:
    assert conversation(**row) == (ASKED,)


def test_an_answer_may_be_a_number_in_a_table() -> None:
    assert conversation(prompt="2 + 2", completion=4)[1] == Message("assistant", "4")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "Ulm"}, "there is no conversation; the row has text"),
        ({"messages": "user: hello"}, 'messages must be a list of messages; found "user: hello"'),
        ({"messages": []}, r"messages must be a list of messages; found \[\]"),
        ({"messages": [{"content": "hello"}]}, r"messages\[0\] must be an object with role and content"),
        (
            {"messages": [{"role": "user", "content": "hi"}, {"role": "bot", "content": "hi"}]},
            r'messages\[1\].role must be one of system, .*; found "bot"',
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            r"messages\[0\].content must be text",
        ),
        (
            {"messages": [{"role": "assistant", "content": None}]},
            r"messages\[0\].content must be text; found null",
        ),
        ({"conversations": [{"from": "human", "text": "hi"}]}, r"conversations\[0\].value must be text"),
        ({"instruction": float("nan"), "output": "4"}, "instruction must be text; found NaN"),
        ({"instruction": "Add.", "output": ["4"]}, r"output must be text; found \[\"4\"\]"),
    ],
)
def test_a_row_that_is_no_conversation_is_refused_with_its_place(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        conversation(**row)
    assert caught.value.where == "chats.jsonl:7"
    assert caught.value.remedy

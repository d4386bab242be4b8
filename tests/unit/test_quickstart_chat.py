"""The conversations that ship with the recipes are what their README promises."""

import re
from pathlib import Path

import pytest

from rankfold.data.conversations import conversation_of_row
from rankfold.data.examples import ChatExample
from rankfold.data.readers import read_examples
from rankfold.recipe.schema import Source

STYLE = re.compile(r"Ahoy! The log says: [^.!]+\. Fair winds!")


@pytest.fixture(scope="module")
def sides(repository: Path) -> dict[str, list[ChatExample]]:
    folder = repository / "recipes/data"
    found = {}
    for side in ("train", "test"):
        source = Source(path=str(folder / f"quickstart_chat_{side}.jsonl"), format="jsonl")
        examples = read_examples(source, example_of=conversation_of_row).examples
        found[side] = [example for example in examples if isinstance(example, ChatExample)]
    return found


def said(examples: list[ChatExample], role: str) -> list[str]:
    return [message.content for example in examples for message in example.messages if message.role == role]


def test_there_are_as_many_conversations_as_promised(sides: dict[str, list[ChatExample]]) -> None:
    assert (len(sides["train"]), len(sides["test"])) == (60, 12)
    assert len(said(sides["train"], "assistant")) == 68
    assert all(len(example.messages) == 2 for example in sides["test"])


def test_every_answer_has_the_style(sides: dict[str, list[ChatExample]]) -> None:
    for examples in sides.values():
        assert all(STYLE.fullmatch(answer) for answer in said(examples, "assistant"))


def test_questions_and_answers_alternate(sides: dict[str, list[ChatExample]]) -> None:
    for example in (*sides["train"], *sides["test"]):
        roles = [message.role for message in example.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_no_question_is_on_both_sides_or_twice(sides: dict[str, list[ChatExample]]) -> None:
    questions = [question for side in sides.values() for question in said(side, "user")]
    assert len(set(questions)) == len(questions)

"""The intents that ship with the recipes are what their README promises."""

import csv
from collections import Counter
from pathlib import Path

import pytest

INTENTS = [
    "opening_hours",
    "renew_loan",
    "reserve_book",
    "lost_card",
    "pay_fine",
    "sign_up_event",
    "book_room",
    "print_and_copy",
]


def read_rows(repository: Path, side: str) -> list[dict[str, str]]:
    with (repository / f"recipes/data/quickstart_intents_{side}.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("side", "each"), [("train", 20), ("test", 8)])
def test_every_intent_comes_as_often_as_the_others(repository: Path, side: str, each: int) -> None:
    rows = read_rows(repository, side)
    assert Counter(row["intent"] for row in rows) == dict.fromkeys(INTENTS, each)
    readme = (repository / "recipes/data/README.md").read_text(encoding="utf-8")
    said = next(line for line in readme.splitlines() if f"`quickstart_intents_{side}.csv`" in line)
    assert f" {len(rows)} sentences, {each} of each" in said


def test_sentences_are_short_and_none_comes_twice(repository: Path) -> None:
    texts = [row["text"] for side in ("train", "test") for row in read_rows(repository, side)]
    words = [tuple(text.lower().strip(".?!").split()) for text in texts]
    assert len(set(words)) == len(words)
    assert {len(one) for one in words} <= set(range(5, 16))
    assert all(text == text.strip() and text.endswith((".", "?")) for text in texts)

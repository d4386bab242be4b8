import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.examples import Answer, EntityExample, QuestionExample, Span
from rankfold.data.store import iterate_stored, write_examples

TEXT = st.text(max_size=20)
SPANS = st.builds(Span, st.integers(0, 99), st.integers(0, 99), TEXT)
ENTITIES = st.builds(EntityExample, TEXT, TEXT, st.lists(SPANS, max_size=3).map(tuple))
ANSWERS = st.lists(st.builds(Answer, TEXT, st.integers(0, 99)), max_size=3).map(tuple)
QUESTIONS = st.builds(QuestionExample, TEXT, TEXT, TEXT, ANSWERS)


def stored(examples: list[Any], kind: type[Any]) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "examples.jsonl"
        write_examples(path, examples, kind)
        return list(iterate_stored(path, kind))


@given(examples=st.lists(ENTITIES, max_size=4))
def test_texts_and_entities_read_back_as_they_were(
    examples: list[EntityExample],
) -> None:
    assert stored(examples, EntityExample) == examples


@given(examples=st.lists(QUESTIONS, max_size=4))
def test_questions_read_back_as_they_were(examples: list[QuestionExample]) -> None:
    assert stored(examples, QuestionExample) == examples


def test_an_example_is_a_line_whatever_line_breaks_are_in_it(tmp_path: Path) -> None:
    examples = [EntityExample("1", "a\nb\u2028c\r\x85d", ()), EntityExample("2", "e", ())]
    write_examples(tmp_path / "examples.jsonl", examples, EntityExample)
    assert (tmp_path / "examples.jsonl").read_bytes().count(b"\n") == 2
    assert list(iterate_stored(tmp_path / "examples.jsonl", EntityExample)) == examples

"""The format `squad`: the JSON of SQuAD v1 and v2, and of its relatives DRCD, CMRC 2018, XQuAD."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankfold.data.examples import Answer, QuestionExample
from rankfold.data.files import read_text
from rankfold.data.jsonl import field, objects, parse_json, shorten
from rankfold.data.labelling import empty
from rankfold.data.locate import nearest_occurrence
from rankfold.data.result import ReadResult
from rankfold.errors import DataError


@dataclass(frozen=True)
class Question:
    """A question as a file has it: `answers` may not be where they say they are."""

    id: str
    where: str
    question: str
    context: str
    answers: tuple[Answer, ...]


def read(path: Path) -> ReadResult[QuestionExample]:
    """Read a file of SQuAD's JSON.

    Raises:
        DataError: The file is not of this format, has an id twice, or no question that can be used.
    """
    return check_answers(_questions(path), str(path))


def count(path: Path) -> int:
    """Return how many questions a file has, dropped ones included; errors as `read`."""
    return sum(1 for _ in _questions(path))


def check_answers(questions: Iterable[Question], path: str) -> ReadResult[QuestionExample]:
    """Move each answer to the place in its context where its text is, and drop those that have none.

    A question that loses all of its answers is dropped; one that never had any has no answer.

    Raises:
        DataError: An id comes twice, or no question is left.
    """
    examples: dict[str, QuestionExample] = {}
    dropped: Counter[str] = Counter()
    repaired: Counter[str] = Counter()
    for question in questions:
        if question.id in examples:
            raise DataError(
                f"the question id {question.id!r} comes twice",
                where=question.where,
                remedy="Make every id unique: predictions are kept by id.",
            )
        answers = tuple(_placed(question, dropped, repaired))
        if question.answers and not answers:
            dropped["question_without_usable_answer"] += 1
            continue
        examples[question.id] = QuestionExample(question.id, question.question, question.context, answers)
    if not examples:
        raise empty(path)
    return ReadResult(tuple(examples.values()), (), dict(+dropped), dict(+repaired))


def _placed(question: Question, dropped: Counter[str], repaired: Counter[str]) -> Iterator[Answer]:
    for answer in question.answers:
        start = nearest_occurrence(question.context, answer.text, answer.answer_start)
        if not answer.text:
            dropped["empty_answer"] += 1
        elif start is None:
            dropped["answer_not_in_context"] += 1
        else:
            repaired["answer_start_moved_to_text"] += start != answer.answer_start
            yield Answer(answer.text, start)


def _questions(path: Path) -> Iterator[Question]:
    document = parse_json(read_text(path), path)
    if not isinstance(document, dict):
        raise DataError(
            f"must be a JSON object with `data`; found {shorten(document)}",
            where=str(path),
            remedy="Check that it is SQuAD's own JSON, not JSON lines or a list.",
        )
    for article_place, article in objects(document, "data", str(path)):
        for paragraph_place, paragraph in objects(article, "paragraphs", article_place):
            context = field(paragraph, "context", str, paragraph_place)
            for place, record in objects(paragraph, "qas", paragraph_place):
                question = field(record, "question", str, place)
                yield Question(_id(record, place), place, question, context, _answers(record, place))


def _id(record: dict[str, Any], place: str) -> str:
    """Return the id as a string; some data sets number their questions."""
    if isinstance(record.get("id"), int):
        return str(field(record, "id", int, place))
    return field(record, "id", str, place)


def _answers(record: dict[str, Any], place: str) -> tuple[Answer, ...]:
    if record.get("is_impossible") is True:
        return ()
    return tuple(
        Answer(field(answer, "text", str, where), field(answer, "answer_start", int, where))
        for where, answer in objects(record, "answers", place)
    )

"""What a data set is made of once it has been read, whatever its file format was."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Span:
    """A labelled stretch of text: characters `start` (inclusive) to `end` (exclusive)."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class EntityExample:
    """A text and the entities in it, ordered by position."""

    id: str
    text: str
    entities: tuple[Span, ...]


@dataclass(frozen=True)
class Answer:
    """A gold answer: its text and the character in the context it starts at."""

    text: str
    answer_start: int


@dataclass(frozen=True)
class QuestionExample:
    """A question, its context and the gold answers; none where the question has no answer."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]


Example = EntityExample | QuestionExample

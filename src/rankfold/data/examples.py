"""What a data set is made of once it has been read, whatever its file format was."""

from dataclasses import dataclass
from typing import Literal, Protocol


class Example(Protocol):
    """What reading a data set gives, whatever its format: a frozen dataclass with an id."""

    @property
    def id(self) -> str:
        """Unique in its data set."""
        ...


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
    entities: tuple[Span, ...] = ()


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
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class TextExample:
    """A text, or a pair of texts, and its labels: one, or with `data.multi_label` any number."""

    id: str
    text: str
    text_pair: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


@dataclass(frozen=True)
class ChatExample:
    """A conversation; what the assistant says is to be learned."""

    id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class DocumentExample:
    """A text to be learned as it is."""

    id: str
    text: str


@dataclass(frozen=True)
class SequencePairExample:
    """A text and what is to be made of it: its translation, its summary."""

    id: str
    source: str
    target: str = ""


@dataclass(frozen=True)
class ChoiceExample:
    """A question, the answers to choose from, and the place of the right one among them, from 0."""

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int | None = None
    context: str = ""


@dataclass(frozen=True)
class TextPairExample:
    """A text and one that belongs to it, others that do not, or a score of how much it does."""

    id: str
    text: str
    positive: str | None = None
    negatives: tuple[str, ...] = ()
    score: float | None = None

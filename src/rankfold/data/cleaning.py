"""What is left out of a data set before it is used, and why."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from hashlib import blake2b
from typing import Any, TypeVar, cast

from rankfold.data.examples import EntityExample, Example, Message, QuestionExample, TextExample
from rankfold.data.result import Tally
from rankfold.errors import DataError
from rankfold.recipe.schema import Cleaning

ExampleT = TypeVar("ExampleT", bound=Example)

EMPTY = "empty or blank text"
TOO_SHORT = "shorter than min_characters"
TOO_LONG = "longer than max_characters"
REPEATED = "repeats an earlier training example"
IN_TEST = "is in the test set too"
IN_VALIDATION = "is in the validation set too"
NO_ANSWER = "no answer, and version_2_with_negative is false"
UNTRAINED_LABEL = "label without a training example"

ASKED_FOR = frozenset({"label_not_wanted", "no wanted label", NO_ANSWER, UNTRAINED_LABEL})
"""What `strict` lets pass: the recipe itself says that it is to be left out, or how the data is divided."""

_TEXT_FIELDS = (
    "text",
    "source",
    "question",
    "context",
    "messages",
    "text_pair",
    "choices",
    "positive",
    "negatives",
)
"""Fields of examples that a model reads, where they are."""

_DIGEST_BYTES = 16


def content_of(example: Example) -> bytes:
    """16 bytes that two examples share where all but their ids is equal, whatever their number."""
    content = repr(replace(cast(Any, example), id=""))
    # JSON may escape half a surrogate pair; the readers refuse it, examples of other packages may hold it.
    return blake2b(content.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def labels_of(example: Example) -> tuple[str, ...]:
    """The labels of an example, or of its entities, each once and sorted; none where there are no labels."""
    if isinstance(example, TextExample):
        return tuple(sorted(set(example.labels)))
    if isinstance(example, EntityExample):
        return tuple(sorted({span.label for span in example.entities}))
    return ()


def num_characters(example: Example) -> int:
    """Characters of all that a model reads of an example."""
    return sum(len(text) for name in _TEXT_FIELDS for text in _texts(example, name))


def is_empty(example: Example) -> bool:
    """Whether a text that an example must have is blank."""
    needed = {each.name for each in fields(cast(Any, example)) if each.default is MISSING}
    return any(
        not "".join(_texts(example, name)).strip()
        for name in _TEXT_FIELDS
        if name in needed and hasattr(example, name)
    )


def drop_empty(
    located: Iterable[tuple[str, ExampleT]], cleaning: Cleaning, dropped: Tally
) -> Iterator[tuple[str, ExampleT]]:
    """Leave out, where the recipe says so, what no model can make anything of; for every side.

    Args:
        located: Where each example is, and the example.
        cleaning: The recipe's.
        dropped: Is told what is left out.
    """
    for where, example in located:
        if cleaning.drop_empty and is_empty(example):
            dropped.add(EMPTY, where)
        else:
            yield where, example


@dataclass
class TrainingCleaner:
    """Leaves out of training sets what the recipe does not want learned.

    It remembers 16 bytes of every example only where duplicates are dropped, and works on one training set
    after the other, so that an example of the second that is in the first is a duplicate too.

    Attributes:
        held_out: Content of the examples that are tested on → the reason against learning them.
        answers_only: Leave out questions without an answer.
    """

    cleaning: Cleaning
    held_out: Mapping[bytes, str] = field(default_factory=dict)
    answers_only: bool = False
    _seen: set[bytes] = field(default_factory=set)

    def clean(
        self, located: Iterable[tuple[str, ExampleT]], dropped: Tally
    ) -> Iterator[tuple[str, ExampleT]]:
        """Yield what may be learned; `dropped` is told the rest."""
        for where, example in located:
            reason = self._reason_against(example)
            if reason:
                dropped.add(reason, where)
            else:
                yield where, example

    def _reason_against(self, example: Example) -> str | None:
        if self.answers_only and has_no_answer(example):
            return NO_ANSWER
        length, longest = num_characters(example), self.cleaning.max_characters
        if length < self.cleaning.min_characters:
            return TOO_SHORT
        if longest is not None and length > longest:
            return TOO_LONG
        if not self.cleaning.drop_duplicates:
            return None
        content = content_of(example)
        if content in self._seen:
            return REPEATED
        self._seen.add(content)
        return self.held_out.get(content)


def held_out_contents(validation: Iterable[Example], test: Iterable[Example]) -> dict[bytes, str]:
    """The contents that may not be learned, each with its reason."""
    found = dict.fromkeys(map(content_of, validation), IN_VALIDATION)
    return found | dict.fromkeys(map(content_of, test), IN_TEST)


def has_no_answer(example: Example) -> bool:
    """Whether it is a question that its context does not answer."""
    return isinstance(example, QuestionExample) and not example.answers


def refuse_losses(
    dropped: Mapping[str, Mapping[str, int]],
    repaired: Mapping[str, Mapping[str, int]],
    first: Mapping[str, Mapping[str, Iterable[str]]],
) -> None:
    """Raise DataError where anything was dropped or repaired, side by side, naming the first ones."""
    lines = [
        f"{kind} {side}: {count:,} × {reason}" + _places(first.get(side, {}).get(reason, ()))
        for kind, sides in (("dropped from", dropped), ("repaired in", repaired))
        for side, reasons in sides.items()
        for reason, count in reasons.items()
        if count and reason not in ASKED_FOR
    ]
    if lines:
        raise DataError(
            "strict is on, and not every example can be used as it is:\n  " + "\n  ".join(lines),
            where="data.cleaning.strict",
            remedy="Correct the data, or set strict to false.",
        )


def _places(places: Iterable[str]) -> str:
    listed = list(places)
    return f" (first: {'; '.join(listed)})" if listed else ""


def _texts(example: Example, name: str) -> list[str]:
    value = getattr(example, name, None)
    values = value if isinstance(value, tuple) else (value,)
    return [
        each.content if isinstance(each, Message) else each
        for each in values
        if isinstance(each, str | Message)
    ]

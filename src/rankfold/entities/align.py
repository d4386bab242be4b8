"""Generated entities found again in the text they were read from."""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rankfold.data.examples import Span
from rankfold.entities.parse import GeneratedEntity

Status = Literal["exact", "normalised"]
Mention = tuple[int, int]
"""Characters start (inclusive) to end (exclusive) of a text."""


class AlignedSpan(NamedTuple):
    """Where a generated entity is in the text, and how literally it is there."""

    span: Span
    status: Status


@dataclass(frozen=True)
class Alignment:
    """What became of generated entities, each part in the order they were generated.

    Attributes:
        spans: Entities that are in the text.
        invented: Entities that are not, that repeat a mention more often than the text has it, or whose
            label is none of those asked for. Each of them counts as a false positive.
    """

    spans: tuple[AlignedSpan, ...]
    invented: tuple[GeneratedEntity, ...]


def align(entities: Sequence[GeneratedEntity], text: str, labels: Collection[str]) -> Alignment:
    """Find each entity's mention: literally, or else whatever its case, width and white space are.

    Each mention is used once, whatever the label. Of several, the first from the left that neither
    overlaps a mention already used nor cuts a word in two; where there is none, the first that does not
    overlap; then the first. Literal matches are made before all others, so that a sloppy entity cannot
    take the mention of a precise one.
    """
    mentions = _Mentions(text)
    known = [index for index, entity in enumerate(entities) if entity.label in labels]
    places: dict[int, AlignedSpan] = {}
    for index in known:
        if mention := mentions.take(_occurrences(entities[index].text, text)):
            places[index] = AlignedSpan(Span(*mention, entities[index].label), "exact")
    if len(places) < len(known):
        normalised = _Normalised.of(text)
        for index in known:
            if index in places:
                continue
            if mention := mentions.take(normalised.occurrences(entities[index].text)):
                places[index] = AlignedSpan(Span(*mention, entities[index].label), "normalised")
    return Alignment(
        spans=tuple(places[index] for index in sorted(places)),
        invented=tuple(entity for index, entity in enumerate(entities) if index not in places),
    )


class _Mentions:
    """The mentions in a text, handed out one by one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._used: set[Mention] = set()
        self._covered = bytearray(len(text))  # 1 for each character of a used mention

    def take(self, occurrences: Iterator[Mention]) -> Mention | None:
        """Use the best of these mentions, given from left to right; None if none is left."""
        free = [mention for mention in occurrences if mention not in self._used]
        if not free:
            return None
        # min() returns the first of equals, so the order from left to right is kept.
        best = min(free, key=lambda mention: (self._overlaps(mention), self._cuts_a_word(mention)))
        self._used.add(best)
        start, end = best
        self._covered[start:end] = b"\1" * (end - start)
        return best

    def _overlaps(self, mention: Mention) -> bool:
        return self._covered.find(1, *mention) >= 0

    def _cuts_a_word(self, mention: Mention) -> bool:
        return any(
            0 < position < len(self._text)
            and _is_in_words(self._text[position - 1])
            and _is_in_words(self._text[position])
            for position in mention
        )


def _is_in_words(character: str) -> bool:
    """Whether a character belongs to a script that parts words, which wide ones such as Han do not."""
    return character.isalnum() and unicodedata.east_asian_width(character) not in ("W", "F")


def _occurrences(part: str, text: str) -> Iterator[Mention]:
    start = text.find(part)
    while start >= 0:
        yield start, start + len(part)
        start = text.find(part, start + 1)


@dataclass(frozen=True)
class _Normalised:
    """A text normalised, with the character of the original that each of its characters came from."""

    text: str
    source: tuple[int, ...]

    @classmethod
    def of(cls, original: str) -> "_Normalised":
        characters: list[str] = []
        source: list[int] = []
        for index, character in enumerate(original):
            # One at a time, because a character may become several ("İ", "ß", "…") or none, and
            # decomposed (NFKD), because composing would tie neighbours together: two strings have the
            # same NFKD where they have the same NFKC.
            for piece in _normalise_character(character):
                if piece == " " and (not characters or characters[-1] == " "):
                    continue
                characters.append(piece)
                source.append(index)
        return cls("".join(characters), tuple(source))

    def occurrences(self, part: str) -> Iterator[Mention]:
        """Yield where a part is in the original, from left to right."""
        wanted = _Normalised.of(part).text.strip()
        if not wanted:
            return
        for start, end in _occurrences(wanted, self.text):
            if self._is_boundary(start) and self._is_boundary(end):
                yield self.source[start], self.source[end - 1] + 1

    def _is_boundary(self, position: int) -> bool:
        """Whether no original character has parts on both sides of a position."""
        inside = 0 < position < len(self.source)
        return not inside or self.source[position - 1] != self.source[position]


def _normalise_character(character: str) -> str:
    folded = unicodedata.normalize("NFKD", character).casefold()
    pieces = unicodedata.normalize("NFKD", folded)
    return "".join(" " if piece.isspace() else piece for piece in pieces)

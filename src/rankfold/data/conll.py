"""The format `conll`: a token and its tag on each line, a blank line after each sentence.

Columns are separated by tabs, or by spaces where a line has no tab; the first is the token, the last
the tag. The text is rebuilt from the tokens, so offsets refer to the rebuilt text.

Tags are of the schemes BIO, BIOES, BMES and BILOU, told by their letters: B begins an entity, I or M is
inside, E or L ends, S or U is the only token of one.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rankfold.data.files import read_lines
from rankfold.data.labelling import NamedEntity, NamedExample
from rankfold.errors import DataError

PREFIXES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
"""The letters of all schemes → those of BIOES."""

LEFT_OPEN = "entity_left_open"
REPAIRS = {"I": "inside_tag_starts_an_entity", "E": "end_tag_starts_an_entity"}
"""What a tag that continues nothing is counted as."""


@dataclass(frozen=True)
class TaggedToken:
    """A token with its tag: `prefix` is B, I, E, S or O; `label` is empty for O."""

    line_number: int
    token: str
    prefix: str
    label: str


def parse(path: Path, repaired: Counter[str]) -> Iterator[NamedExample]:
    """Yield the sentences of a file, their ids the line numbers of their first tokens.

    `repaired` counts what breaks the scheme: an inside or end tag that continues nothing starts an entity;
    an entity without an end tag ends where the next tag does not continue it, which is a mistake only in
    a file that has end or single tags.

    Raises:
        DataError: A line without two columns, or a tag of no scheme.
    """
    found: Counter[str] = Counter()
    marks_ends = False
    for sentence in read_sentences(path):
        number = sentence[0].line_number
        text, starts = _join([token.token for token in sentence])
        entities = tuple(_entities(sentence, starts, found))
        marks_ends = marks_ends or any(token.prefix in ("E", "S") for token in sentence)
        yield NamedExample(str(number), f"{path}:{number}", text, entities)
    if not marks_ends:
        del found[LEFT_OPEN]
    repaired.update(found)


def read_sentences(path: Path) -> Iterator[list[TaggedToken]]:
    """Yield the sentences of a file, none of them empty; errors as `parse`."""
    sentence: list[TaggedToken] = []
    for number, line in read_lines(path):
        # str.strip() and str.split() would also cut at no-break spaces, which tokens may hold.
        line = line.strip(" \t")
        if line and not line.startswith("-DOCSTART-"):
            sentence.append(_tagged_token(line, number, f"{path}:{number}"))
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _tagged_token(line: str, number: int, where: str) -> TaggedToken:
    columns = [column for column in line.replace("\t", " ").split(" ") if column]
    if len(columns) < 2:
        raise DataError(
            f"found one column, {line!r}; a token and a tag are needed",
            where=where,
            remedy="Separate token and tag with a tab, and sentences with a blank line.",
        )
    tag = columns[-1]
    if tag == "O":
        return TaggedToken(number, columns[0], "O", "")
    letter, _, label = tag.partition("-")
    if letter not in PREFIXES or not label:
        raise DataError(
            f"the tag {tag!r} is neither O nor LETTER-LABEL with one of the letters {', '.join(PREFIXES)}",
            where=where,
            remedy="Write the tags in the scheme BIO, BIOES, BMES or BILOU, in the last column.",
        )
    return TaggedToken(number, columns[0], PREFIXES[letter], label)


def _join(tokens: Sequence[str]) -> tuple[str, list[int]]:
    """Return the text and the character each token starts at."""
    # Character by character, as Chinese and Japanese corpora often are: nothing was between them.
    one_by_one = all(len(token) == 1 for token in tokens) and any(_is_cjk(token) for token in tokens)
    text = ""
    starts = []
    for token in tokens:
        if text and not one_by_one and not (_is_cjk(text[-1]) and _is_cjk(token[0])):
            text += " "
        starts.append(len(text))
        text += token
    return text, starts


def _is_cjk(character: str) -> bool:
    """Whether a character belongs to a script written without spaces, or is its punctuation."""
    return (
        "\u3000" <= character <= "\u30ff"  # punctuation, hiragana, katakana
        or "\u3400" <= character <= "\u9fff"  # ideographs
        or "\uf900" <= character <= "\ufaff"  # compatibility ideographs
        or "\uff00" <= character <= "\uffef"  # full-width forms
        or "\U00020000" <= character <= "\U0003ffff"  # ideographs beyond the basic plane
    )


def _entities(
    sentence: Sequence[TaggedToken], starts: Sequence[int], repaired: Counter[str]
) -> Iterator[NamedEntity]:
    current: NamedEntity | None = None
    for tagged, start in zip(sentence, starts, strict=True):
        end = start + len(tagged.token)
        if current and tagged.prefix in ("I", "E") and current.names == (tagged.label,):
            current = replace(current, end=end)
        else:
            if current:
                repaired[LEFT_OPEN] += 1
                yield current
            if tagged.prefix in REPAIRS:
                repaired[REPAIRS[tagged.prefix]] += 1
            current = None if tagged.prefix == "O" else NamedEntity(start, end, (tagged.label,))
        if current and tagged.prefix in ("E", "S"):
            yield current
            current = None
    if current:
        repaired[LEFT_OPEN] += 1
        yield current

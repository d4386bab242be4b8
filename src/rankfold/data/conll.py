"""The format `conll`: a token and its BIO tag on each line, a blank line after each sentence.

Columns are separated by tabs, or by spaces where a line has no tab; the first is the token, the last
the tag. The text is rebuilt from the tokens, so offsets refer to the rebuilt text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rankfold.data.files import read_lines
from rankfold.data.labelling import NamedEntity, NamedExample
from rankfold.errors import DataError


@dataclass(frozen=True)
class TaggedToken:
    """A token with its tag: `prefix` is B, I or O; `label` is empty for O."""

    line_number: int
    token: str
    prefix: str
    label: str


def parse(path: Path, repaired: Counter[str]) -> Iterator[NamedExample]:
    """Yield the sentences of a file, their ids the line numbers of their first tokens.

    An I- tag that continues nothing starts an entity; `repaired` counts them.

    Raises:
        DataError: A line without two columns, or a tag that is not BIO.
    """
    for sentence in read_sentences(path):
        number = sentence[0].line_number
        text, starts = _join([token.token for token in sentence])
        entities = tuple(_entities(sentence, starts, repaired))
        yield NamedExample(str(number), f"{path}:{number}", text, entities)


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
    prefix, _, label = tag.partition("-")
    if tag != "O" and not (prefix in ("B", "I") and label):
        raise DataError(
            f"the tag {tag!r} is none of O, B-LABEL, I-LABEL",
            where=where,
            remedy="Write the tags in the BIO scheme, in the last column.",
        )
    return TaggedToken(number, columns[0], prefix, label)


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
        if current and tagged.prefix == "I" and current.names == (tagged.label,):
            current = replace(current, end=end)
            continue
        if current:
            yield current
        repaired["inside_tag_starts_an_entity"] += tagged.prefix == "I"
        current = None if tagged.prefix == "O" else NamedEntity(start, end, (tagged.label,))
    if current:
        yield current

"""Generated text read as entities, however untidy it is; never evaluated."""

import json
import re
from dataclasses import dataclass

from rankfold.entities.prompt import Wording

# A JSON object without objects or lists in it, which is what an entity is. Finding these first and
# decoding each alone needs no recursion and, because a scan ends at the next bracket outside a string,
# time linear in the text; a decoder tried at every brace needs neither less than quadratic time nor a
# bounded stack for "[[[[…" or {"a":{"a":….
_FLAT_OBJECT = re.compile(r'\{(?:[^{}\[\]"\\]++|"(?:[^"\\]++|\\.)*+")*+\}', re.DOTALL)

_TEXT_KEYS = ("text", "entity_text")
_LABEL_KEYS = ("label", "entity_label")

# What may stand around the agreed sentence, or be left out at its end, without changing what it says.
_ORNAMENT = " \t\r\n`\"'*.!。！"


@dataclass(frozen=True)
class GeneratedEntity:
    """An entity as a model wrote it; whether it is in the text is not known yet."""

    text: str
    label: str


@dataclass(frozen=True)
class ParseResult:
    """What could be read of one generated text.

    Attributes:
        entities: In the order they were written, repeats included.
        failure: Nothing could be read: neither an entity nor the agreed sentence.
        truncated: An object was begun after the last whole one and never ended.
        num_malformed: Objects that were passed over: not JSON, or without a text and a label.
    """

    entities: tuple[GeneratedEntity, ...]
    failure: bool
    truncated: bool
    num_malformed: int


def parse_entities(generated: str, words: Wording) -> ParseResult:
    """Read the entities in a generated text.

    Objects may follow each other on lines, in a list, inside another object, in a code fence, with
    words between them or with nothing. No entity is read from Python's single-quoted literals. The
    agreed sentence, or `[]`, must be alone on a line.
    """
    found = list(_FLAT_OBJECT.finditer(generated))
    entities = tuple(entity for match in found if (entity := _entity(match[0])) is not None)
    rest = generated[found[-1].end() :] if found else generated
    return ParseResult(
        entities=entities,
        failure=not entities and ("{" in generated or not _says_none(generated, words)),
        truncated="{" in rest,
        num_malformed=len(found) - len(entities),
    )


def _entity(source: str) -> GeneratedEntity | None:
    try:
        # Not strict: a line break inside a string is no reason to lose an entity.
        record = json.loads(source, strict=False)
    except ValueError:  # also what a number of thousands of digits raises
        return None
    text = next((record[key] for key in _TEXT_KEYS if key in record), None)
    label = next((record[key] for key in _LABEL_KEYS if key in record), None)
    if isinstance(text, str) and isinstance(label, str) and _is_text(text) and _is_text(label):
        return GeneratedEntity(text, label)
    return None


def _is_text(value: str) -> bool:
    """Whether a string says something and can be written: "\\ud83d" alone is half a character."""
    return value != "" and not any("\ud800" <= character <= "\udfff" for character in value)


def _says_none(generated: str, words: Wording) -> bool:
    agreed = {_bare(words.no_entities), "[]"} - {""}
    return any(_bare(line) in agreed for line in (generated, *generated.splitlines()))


def _bare(line: str) -> str:
    return line.strip(_ORNAMENT).casefold()

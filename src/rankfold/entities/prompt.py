"""What a language model is asked, and the answer it is taught to give."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from rankfold.data.examples import Span
from rankfold.recipe.schema import Prompt


class Message(TypedDict):
    """One turn of a chat, as chat templates take it."""

    role: str
    content: str


@dataclass(frozen=True)
class Wording:
    """The words around a text; `{labels}`, `{text}` and `{no_entities}` are filled in.

    Attributes:
        system: System message; no such message where empty.
        user: User message.
        no_entities: The sentence that stands for an answer without entities.
        label_separator: What stands between two labels.
    """

    system: str
    user: str
    no_entities: str
    label_separator: str


# Short on purpose: these words are read again with every text.
ENGLISH = Wording(
    system="Find the entities in the text. Labels: {labels}. "
    'For each entity, in order, write one line {"text": "...", "label": "..."}. '
    "If there are none, write: {no_entities}",
    user="{text}",
    no_entities="No entities.",
    label_separator=", ",
)
CHINESE = Wording(
    system="找出文本中的实体。类别：{labels}。"
    '按出现的顺序，每个实体写一行 {"text": "…", "label": "…"}。没有实体时写：{no_entities}',
    user="{text}",
    no_entities="没有实体。",
    label_separator="、",
)
_BUILT_IN = {"en": ENGLISH, "zh": CHINESE}


def wording(prompt: Prompt) -> Wording:
    """Return a recipe's wording: the built-in one of its language where it leaves words out."""
    own = {"system": prompt.system, "user": prompt.user, "no_entities": prompt.no_entities}
    given = {name: words for name, words in own.items() if words is not None}
    return replace(_BUILT_IN[prompt.language], **given)


def messages(text: str, labels: Sequence[str], words: Wording) -> list[Message]:
    """Return the chat that asks for the entities of `text`, without the answer."""
    values = {
        "labels": words.label_separator.join(labels),
        "text": text,
        "no_entities": words.no_entities,
    }
    user: Message = {"role": "user", "content": _fill(words.user, values)}
    if not words.system:
        return [user]
    return [{"role": "system", "content": _fill(words.system, values)}, user]


def answer_text(entities: Iterable[Span], text: str, words: Wording) -> str:
    """Return the answer for these entities of `text`: one JSON object a line, in order of position."""
    lines = [
        json.dumps({"text": text[span.start : span.end], "label": span.label}, ensure_ascii=False)
        for span in sorted(entities)
    ]
    return "\n".join(lines) or words.no_entities


def _fill(template: str, values: dict[str, str]) -> str:
    # In one pass, and not by str.format: a text may itself hold braces, or even "{labels}".
    return re.sub(r"\{(labels|text|no_entities)\}", lambda match: values[match[1]], template)

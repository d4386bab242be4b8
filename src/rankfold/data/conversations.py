"""A row of a table as a conversation, in the layouts that instruction data comes in.

The first layout whose column is there counts: `messages` (OpenAI), `conversations` (ShareGPT), `instruction`
with `input` and `output` (Alpaca), `prompt` with `completion`. Beside the last three, a `system` column may
hold a system message.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rankfold.data.examples import ChatExample, Message
from rankfold.data.jsonl import check_text, shorten
from rankfold.data.tables import is_absent
from rankfold.errors import DataError

Row = Mapping[str, Any]

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
"""Role as files have it → role as chat templates know it."""


def conversation_of_row(row: Row, where: str) -> ChatExample:
    """Make a conversation of a row; where it comes to be predicted, it may end before the assistant speaks.

    Raises:
        DataError: The row has none of the layouts, or a message is not a role and a text; names `where`.
    """
    for column, read in _LAYOUTS.items():
        if row.get(column) is not None:
            messages = (*_system(row, where), *read(row, where))
            return ChatExample(str(row["id"]), messages)
    columns = ", ".join(name for name in row if name != "id") or "no columns"
    raise DataError(
        f"there is no conversation; the row has {columns}",
        where=where,
        remedy="Name them in `columns`: messages; or conversations; or instruction, input and output; or "
        "prompt and completion.",
    )


def _openai(row: Row, where: str) -> tuple[Message, ...]:
    return _messages(row["messages"], "messages", "role", "content", where)


def _share_gpt(row: Row, where: str) -> tuple[Message, ...]:
    return _messages(row["conversations"], "conversations", "from", "value", where)


def _alpaca(row: Row, where: str) -> tuple[Message, ...]:
    instruction = _text(row["instruction"], "instruction", where)
    added = _text(row["input"], "input", where) if not is_absent(row.get("input")) else ""
    request = f"{instruction}\n\n{added}" if added.strip() else instruction
    return (_message("user", request, where), *_answer(row, "output", where))


def _prompt(row: Row, where: str) -> tuple[Message, ...]:
    if isinstance(row["prompt"], str):
        return (
            _message("user", _text(row["prompt"], "prompt", where), where),
            *_answer(row, "completion", where),
        )
    asked = _messages(row["prompt"], "prompt", "role", "content", where)
    if is_absent(row.get("completion")) or isinstance(row["completion"], str):
        return (*asked, *_answer(row, "completion", where))
    return (*asked, *_messages(row["completion"], "completion", "role", "content", where))


_LAYOUTS: Mapping[str, Callable[[Row, str], tuple[Message, ...]]] = {
    "messages": _openai,
    "conversations": _share_gpt,
    "instruction": _alpaca,
    "prompt": _prompt,
}
"""The column that a layout is known by → how it is read."""


def _system(row: Row, where: str) -> tuple[Message, ...]:
    if row.get("messages") is not None or is_absent(row.get("system")):
        return ()
    text = _text(row["system"], "system", where)
    return (_message("system", text, where),) if text.strip() else ()


def _answer(row: Row, column: str, where: str) -> tuple[Message, ...]:
    """The assistant's turn; none where the row does not have it, or has an empty one."""
    if is_absent(row.get(column)):
        return ()
    return (_message("assistant", _text(row[column], column, where), where),)


def _messages(value: object, column: str, role: str, content: str, where: str) -> tuple[Message, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise DataError(
            f"{column} must be a list of messages; found {shorten(value)}",
            where=where,
            remedy=f'Write [{{"{role}": "user", "{content}": "…"}}, …].',
        )
    messages = []
    for number, message in enumerate(value):
        field = f"{column}[{number}]"
        if not isinstance(message, Mapping) or role not in message:
            raise DataError(
                f"{field} must be an object with {role} and {content}; found {shorten(message)}",
                where=where,
                remedy=f'Write {{"{role}": "user", "{content}": "…"}}.',
            )
        text = _text(message.get(content), f"{field}.{content}", where)
        messages.append(_message(message[role], text, where, field=f"{field}.{role}"))
    return tuple(messages)


def _message(role: object, content: str, where: str, *, field: str = "role") -> Message:
    known = _ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        raise DataError(
            f"{field} must be one of {', '.join(_ROLES)}; found {shorten(role)}",
            where=where,
            remedy="Correct the role.",
        )
    return Message(known, content)  # type: ignore[arg-type]  # a value of _ROLES


def _text(value: object, field: str, where: str) -> str:
    """A message's text; of one in parts, as APIs have them, the parts joined."""
    if isinstance(value, list) and value and all(_is_text_part(part) for part in value):
        value = "".join(part["text"] for part in value)
    if isinstance(value, int | float) and not isinstance(value, bool) and not is_absent(value):
        value = str(value)  # an answer may be a number in a table
    if not isinstance(value, str):
        raise DataError(
            f"{field} must be text; found {shorten(value)}",
            where=where,
            remedy="Only text is learned here: leave out images and calls of tools, or write them as text.",
        )
    check_text(value, field, where)
    return value


def _is_text_part(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)

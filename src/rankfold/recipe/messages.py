"""Pydantic's errors → sentences with the place, the value found, what is allowed and what was meant."""

from collections.abc import Iterable, Mapping
from typing import Any

from rankfold.recipe.describe import Node, allowed, node_at, resolved
from rankfold.recipe.entries import Entry, Problem, shown
from rankfold.recipe.suggest import close_option, suggestion

_KINDS = {
    "boolean": "a truth value",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
}

_TRUTH = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def problems_of(errors: Iterable[Mapping[str, Any]], tree: Entry) -> Iterable[Problem]:
    """Translate the errors of one pydantic ValidationError about the recipe `tree`."""
    for error in errors:
        yield _problem(error, tree)


def _problem(error: Mapping[str, Any], tree: Entry) -> Problem:
    location = error["loc"]
    if error["type"] == "extra_forbidden":
        message = f"unknown key; {suggestion(location[:-1], location[-1])}"
        return Problem(tree.nearest(location).place, location, message)
    node, location = node_at(location)
    entry = tree.nearest(location)
    if error["type"] == "missing":
        return Problem(entry.place, location, f"is missing; it must be {allowed(node)}")
    value = entry.plain()
    message = f"must be {allowed(node)}; found {_found(value, node)}"
    hint = _hint(value, resolved(node))
    return Problem(entry.place, location, f"{message}; {hint}" if hint else message)


def _found(value: Any, node: Node) -> str:
    """The value, with its type if a value of that type cannot fit."""
    if value is None:
        return "nothing"
    fitting = {choice.get("type") for choice in _choices(node)}
    kind = _kind(value)
    fits = kind in fitting or (kind == "integer" and "number" in fitting)
    return shown(value) if fits else f"{shown(value)} ({_KINDS[kind]})"


def _kind(value: Any) -> str:
    types = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return types.get(type(value), "object")


def _choices(node: Node) -> list[Node]:
    return [resolved(choice) for choice in node.get("anyOf", [node])]


def _hint(value: Any, node: Node) -> str:
    """What somebody meant by a value that does not fit; empty if that is anybody's guess."""
    choices = _choices(node)
    if isinstance(value, str):
        return _hint_for_text(value, choices)
    if value is not None and choices == [node] and node.get("type") == "string" and "enum" not in node:
        return f'did you mean "{shown(value)}"?' if isinstance(value, int | float) else "put text in quotes"
    return ""


def _hint_for_text(value: str, choices: list[Node]) -> str:
    kinds = {choice.get("type") for choice in choices}
    options = [option for choice in choices for option in choice.get("enum", [choice.get("const")])]
    meant = close_option(value.lower(), [option for option in options if option is not None])
    if meant:
        return f"did you mean {meant}?"
    if "boolean" in kinds and value.lower() in _TRUTH:
        return f"did you mean {_TRUTH[value.lower()]}?"
    if "array" in kinds:
        return f"did you mean [{value}]?"
    if kinds & {"integer", "number"} and _is_number(value):
        return f"did you mean the number {value.replace('_', '')}?"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

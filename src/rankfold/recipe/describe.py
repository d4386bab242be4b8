"""What the schema allows, in words: shared by error messages, suggestions and the reference."""

import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from rankfold.recipe.entries import Location, listed
from rankfold.recipe.schema import Recipe

Node = dict[str, Any]
"""A JSON schema, or a part of one."""

MOST_KEYS = 12
"""Keys that a message names; more are not read."""

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "empty",
}


class _Untitled(GenerateJsonSchema):
    """Leaves out the title of every field: it only repeats the name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@functools.cache
def schema() -> Node:
    """The JSON schema of a whole recipe as pydantic derives it; not to be changed."""
    return Recipe.model_json_schema(schema_generator=_Untitled)


def resolved(node: Node) -> Node:
    """Follow a reference to a section, also where the section may be left empty (`null`)."""
    choices = [choice for choice in node.get("anyOf", []) if choice.get("type") != "null"]
    target = choices[0] if len(choices) == 1 else node
    if "$ref" in target:
        section: Node = schema()["$defs"][target["$ref"].rpartition("/")[2]]
        return section
    return target


def node_at(location: Location) -> tuple[Node, Location]:
    """Find the schema of a field, with as much of `location` as names recipe keys.

    Pydantic ends the location of a field that takes several types with a name for the type.
    """
    node = schema()
    for depth, step in enumerate(location):
        inner = resolved(node)
        if isinstance(step, int):
            part = inner.get("items")
        else:
            part = inner.get("properties", {}).get(step, inner.get("additionalProperties"))
        if not isinstance(part, dict):
            return node, location[:depth]
        node = part
    return node, location


def key_paths(node: Node | None = None, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key that a recipe may have, as a path from the top, in the schema's order."""
    for key, part in resolved(schema() if node is None else node).get("properties", {}).items():
        yield (*prefix, key)
        yield from key_paths(part, (*prefix, key))


def allowed(node: Node) -> str:
    """Say what a field may hold: `a whole number of at least 1`, `one of ddp, zero1 or zero2`."""
    if "anyOf" in node:
        # Lists last: "all-linear or a list of text" cannot be misread.
        choices = sorted(node["anyOf"], key=lambda choice: bool(choice.get("type") == "array"))
        words = [allowed(choice) for choice in choices if choice.get("type") != "null"]
        return listed(words) + (", or empty" if len(words) < len(choices) else "")
    if "$ref" in node:
        return allowed(resolved(node))
    if "enum" in node:
        return f"{'one of ' if len(node['enum']) > 2 else ''}{listed(node['enum'])}"
    if "const" in node:
        return str(node["const"])
    kind = node.get("type")
    if kind == "array":
        items = allowed(node["items"])
        return f"a list of {items}" if items == "text" else f"a list, each item {items}"
    if kind == "object":
        keys = list(node.get("properties", {}))
        return f"a mapping with the keys {keys_in_words(keys)}" if keys else "a mapping"
    if kind not in _WORDS:
        return "anything"
    if "examples" in node:
        return f"{_WORDS[kind]}, such as {listed(node['examples'])}"
    return f"{_WORDS[kind]}{_bounds(node)}"


def keys_in_words(keys: Sequence[str]) -> str:
    """`a, b and c`, or the first of so many that nobody would read them all."""
    if len(keys) <= MOST_KEYS:
        return listed(keys, "and")
    return f"{', '.join(keys[:MOST_KEYS])} and {len(keys) - MOST_KEYS} more (docs/recipe.md)"


def _bounds(node: Node) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']} to {node['maximum']}"
    bounds = [
        f"{words} {json.dumps(node[name])}"
        for name, words in (
            ("minimum", "of at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "of at most"),
            ("exclusiveMaximum", "below"),
        )
        if name in node
    ]
    if "pattern" in node:
        bounds.append(f"that matches {node['pattern']}")
    if "maxLength" in node:
        bounds.append(f"of at most {node['maxLength']} characters")
    return f" {' and '.join(bounds)}" if bounds else ""

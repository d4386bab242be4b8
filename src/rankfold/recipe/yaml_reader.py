"""YAML text → entries that know their lines. Scalars follow YAML 1.2's core schema, not PyYAML's 1.1.

In YAML 1.1 `1e-4` is text and `no` is false; both have spoilt recipes. The rules here are those of
https://yaml.org/spec/1.2.2/#103-core-schema, and the JSON values that follow from them; no other tags.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from rankfold.recipe.entries import Entry, Location, Place, Problem, Scalar, shown

MAX_DEPTH = 50
"""Nesting a recipe may have. The C parser composes recursively and dies of a deep file."""

MAX_VALUES = 10_000
"""Values a recipe may have once aliases are followed: a few lines of aliases can mean billions."""

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)

_WORDS = {
    "null": "null",
    "bool": "true or false",
    "int": "a whole number below 2^63",
    "float": "a finite number",
}


def add_core_schema(loader_or_dumper: Any) -> None:
    """Teach a PyYAML loader or dumper class which plain scalars are not text in YAML 1.2."""
    for name, pattern, first in (
        ("null", _NULL, ["n", "N", "~", ""]),
        ("bool", _BOOL, list("tTfF")),
        ("int", _INT, list("-+0123456789")),
        ("float", _FLOAT, list("-+.0123456789")),
    ):
        loader_or_dumper.add_implicit_resolver(_TAG + name, pattern, first)


def core_loader(base: type[Any]) -> type[Any]:
    """Derive from a PyYAML loader class one that resolves scalars as YAML 1.2 does."""
    loader = type("CoreLoader", (base,), {"yaml_implicit_resolvers": {}})
    add_core_schema(loader)
    return loader


_Loader = core_loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_yaml(
    text: str, locate: Callable[[int], Place], problems: list[Problem], *, loader: type[Any] = _Loader
) -> Entry | None:
    """Read one YAML document; `locate` makes a place of a line (from 1).

    What is wrong is added to `problems`. None if the text cannot be used at all; an empty document is
    an entry with the value None.
    """
    try:
        if _is_too_deep(text, loader):
            problems.append(Problem(locate(1), (), f"is nested deeper than {MAX_DEPTH} levels"))
            return None
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        problems.append(_syntax_problem(error, text, locate))
        return None
    except UnicodeEncodeError:
        problems.append(Problem(locate(1), (), "is not UTF-8 text"))
        return None
    if node is None:
        return Entry(locate(1), None)
    builder = _Builder(locate, problems)
    try:
        return builder.entry(node, (), locate(1))
    except _TooLargeError:
        message = f"its aliases expand to more than {MAX_VALUES} values, or to themselves"
        problems.append(Problem(locate(1), (), message))
        return None


def _is_too_deep(text: str, loader: type[Any]) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return True
    return False


def _syntax_problem(error: yaml.YAMLError, text: str, locate: Callable[[int], Place]) -> Problem:
    line, what = 1, str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        # The C parser places what is missing at the end one line behind the end.
        line = min(mark.line, text.rstrip().count("\n")) + 1 if mark else 1
        what = ", ".join(filter(None, [error.context, error.problem])) + _syntax_hint(error, text, line)
    elif isinstance(error, yaml.reader.ReaderError):
        # The C parser counts the position in bytes of UTF-8.
        before = text.encode()[: error.position]
        line, what = before.count(b"\n") + 1, str(error.reason)
    return Problem(locate(line), (), f"is not valid YAML: {what}")


def _syntax_hint(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    content = (text.splitlines() + [""] * line)[line - 1]
    if "\t" in content[: len(content) - len(content.lstrip())]:
        return "; indent with spaces, not tabs"
    if "mapping values are not allowed" in (error.problem or ""):
        return '; put text that holds ": " in quotes, or check the indentation'
    if error.context_mark and error.context_mark.line + 1 < line:
        return f"; it starts in line {error.context_mark.line + 1}"
    return ""


class _TooLargeError(Exception):
    """Aliases expand to more than a recipe may hold."""


@dataclass
class _Builder:
    locate: Callable[[int], Place]
    problems: list[Problem]
    num_values: int = 0
    depth: int = 0

    def entry(self, node: yaml.Node, location: Location, place: Place) -> Entry:
        self.num_values += 1
        # An alias to a node around itself is endless in depth before it is in number.
        if self.num_values > MAX_VALUES or len(location) > MAX_DEPTH:
            raise _TooLargeError
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return Entry(place, self.mapping(node, location))
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return Entry(
                place,
                [
                    self.entry(item, (*location, position), self.place(item))
                    for position, item in enumerate(node.value)
                ],
            )
        return Entry(place, self.scalar(node, location, place))

    def place(self, node: yaml.Node) -> Place:
        return self.locate(node.start_mark.line + 1)

    def mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            place = self.place(key_node)
            key = self.key(key_node, location, place)
            if key is None:
                continue
            if key in entries:
                first = entries[key].place
                message = f"is given twice; remove this one or the one in line {first.line}"
                self.problems.append(Problem(place, (*location, key), message))
            entries[key] = self.entry(value_node, (*location, key), place)
        return entries

    def key(self, node: yaml.Node, location: Location, place: Place) -> str | None:
        if node.tag == _TAG + "str" and isinstance(node, yaml.ScalarNode):
            if node.value != "<<" or node.style:
                return str(node.value)
            message = "merge keys (<<) are not part of YAML 1.2; use extends, or write the values out"
        elif isinstance(node, yaml.ScalarNode):
            message = f"the key {node.value or 'null'} is not text; put it in quotes"
        else:
            message = "a key must be text, not a list or mapping; put text with braces in quotes"
        self.problems.append(Problem(place, location, message))
        return None

    def scalar(self, node: yaml.Node, location: Location, place: Place) -> Scalar:
        try:
            return _scalar(node.tag.removeprefix(_TAG), node.value)
        except ValueError as error:
            self.problems.append(Problem(place, location, str(error)))
            return None


def _scalar(kind: str, text: str) -> Scalar:
    if kind == "str":
        return text
    if kind == "null" and _NULL.match(text):
        return None
    if kind == "bool" and _BOOL.match(text):
        return text.lower() == "true"
    if kind == "int" and _INT.match(text):
        # Longer numbers fit no setting, and Python refuses to read the longest.
        number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) < 40 else math.inf
        if abs(number) < 2**63:
            return int(number)
    if kind == "float" and (_FLOAT.match(text) or _INT.match(text)):
        number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if math.isfinite(number):
            return number
    if kind in _WORDS:
        raise ValueError(f"{shown(text)} is not {_WORDS[kind]}")
    raise ValueError(f"the tag {kind} is not supported; write plain text, numbers, lists and mappings")

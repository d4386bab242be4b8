"""The recipe reference, docs/recipe.md, and the JSON schema for editors, both made from the schema.

`python -m rankfold.recipe.reference` writes them, with `--check` it only says whether they are current.
"""

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankfold.atomic import write_text
from rankfold.recipe.describe import Node, allowed, resolved, schema

FOLDER = Path("docs")

EXTENDS: Node = {
    "description": "Recipe files under this one, relative to it, the first at the bottom. Mappings are "
    "merged key by key, lists and single values replaced; an empty section goes back to its defaults.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}

_INTRODUCTION = """\
# Recipe reference

*Made from the schema by `python -m rankfold.recipe.reference`; do not edit.*

A recipe is one YAML file. Editors that know JSON schema complete and check it with this first line:

```yaml
# yaml-language-server: $schema=../docs/recipe.schema.json
```

**Values** follow YAML 1.2: `1e-4` is a number; `no`, `on` and dates are text; only `true` and `false` are
truth values. Anchors and aliases work, merge keys (`<<`) do not.

**Layers.** `extends: base.yaml` lays a recipe over another; `launch submit recipe.yaml train.max_steps=10`
lays a value over the whole. The last layer wins. An override's value is YAML too:
`data.labels=[person, place]`, `model.adapter=null`.

**Paths** in a recipe are relative to the file they stand in, those in an override to the working directory.
`model.name_or_path` is a path if it starts with `./`, `../`, `/` or `~`, or if there is such a folder.

**Mistakes** are reported all at once, each with its line. `launch plan` says where every value came from.
"""


def recipe_schema() -> Node:
    """The JSON schema of a recipe file, for editors.

    More lenient than loading: a file may extend another, so keys inside a section may be missing, and a
    section may be empty.
    """
    root = copy.deepcopy(schema())
    for node in (root, *root["$defs"].values()):
        for key, part in node["properties"].items():
            if "$ref" in part or part.get("type") == "object":
                nullable = {"description": _description(part), "anyOf": [part, {"type": "null"}]}
                part.pop("description", None)
                node["properties"][key] = nullable
    for section in root["$defs"].values():
        section.pop("required", None)
    required = root.pop("required")
    root["properties"] = {"extends": EXTENDS, **root["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "anyOf": [{"required": required}, {"required": ["extends"]}],
    }


def recipe_reference() -> str:
    """The reference of all recipe keys, in Markdown: a table a section."""
    root = schema()
    rows = [_row("extends", {**EXTENDS, "default": None}, set())]
    parts = [_INTRODUCTION, _section("Top level", root, rows)]
    for paths, section in _sections(root):
        parts.append(_section(", ".join(f"`{path}`" for path in paths), section, []))
    return "\n".join(parts)


def _sections(root: Node) -> Iterator[tuple[list[str], Node]]:
    """Each kind of section once, with all the keys that hold one."""
    found: dict[str, tuple[list[str], Node]] = {}
    for path, section in _walk(root, ""):
        found.setdefault(section["title"], ([], section))[0].append(path)
    yield from found.values()


def _walk(node: Node, prefix: str) -> Iterator[tuple[str, Node]]:
    for key, part in node["properties"].items():
        section = resolved(part)
        if "properties" in section:
            yield f"{prefix}{key}", section
            yield from _walk(section, f"{prefix}{key}.")


def _section(heading: str, node: Node, rows: list[str]) -> str:
    required = set(node.get("required", []))
    rows = rows + [_row(key, part, required) for key, part in node["properties"].items()]
    table = "\n".join(["| key | allowed | default | meaning |", "|---|---|---|---|", *rows])
    return f"## {heading}\n\n{node['description']}\n\n{table}\n"


def _row(key: str, part: Node, required: set[str]) -> str:
    is_section = "properties" in resolved(part)
    may_be_empty = {"type": "null"} in part.get("anyOf", [])
    meaning = "a section" + (", or empty" if may_be_empty else "") if is_section else allowed(part)
    cells = [f"`{key}`", meaning, _default(key, part, required), _description(part)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _description(part: Node) -> str:
    # Pydantic leaves a field's description out where it repeats that of its section.
    return str(part.get("description") or resolved(part)["description"])


def _default(key: str, part: Node, required: set[str]) -> str:
    if key in required:
        return "required"
    value: Any = part.get("default", {})
    if value is None:
        return "empty"
    return "its defaults" if "properties" in resolved(part) else f"`{json.dumps(value)}`"


def documents() -> dict[Path, str]:
    """The generated documents: path in the repository → text."""
    text = json.dumps(recipe_schema(), ensure_ascii=False, indent=2)
    return {FOLDER / "recipe.md": recipe_reference(), FOLDER / "recipe.schema.json": f"{text}\n"}


def main(arguments: list[str]) -> int:
    """Write the documents below the working directory, or check them; return the exit code."""
    stale = [
        path
        for path, text in documents().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path} is out of date; run python -m rankfold.recipe.reference")
        return 1 if stale else 0
    for path in stale:
        write_text(path, documents()[path])
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

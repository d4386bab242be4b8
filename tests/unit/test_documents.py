"""What the documents say is there: links, files, recipe keys, recipes and commands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from launch.arguments import parse_arguments
from launch.cli import COMMANDS, build_parser
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN, TABLES, task_class

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [
    *(
        REPOSITORY / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "recipes/data/README.md")
    ),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)

ENDS = (".py", ".md", ".yaml", ".sh")
"""Files with these ends are ours; those that a run writes are told by their tests."""

WRITTEN = {".json", ".jsonl", ".gguf"}
"""Ends of files that a run or an export writes."""

NOT_OURS = {"NAME.yaml", "default.yaml", "recipe.yaml", "convert_hf_to_gguf.py", "text_rating.py"}


def keys_of(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Every key of a recipe, and of its sections with their dots."""
    for name, field in model.model_fields.items():
        yield before + name
        for section in sections_of(field.annotation):
            yield from keys_of(section, f"{before}{name}.")


def sections_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from sections_of(argument)


KEYS = set(keys_of(Recipe))
OPEN = ("distributed.deepspeed.", "model.config.", "data.mixed_with.")
"""Sections whose keys are another program's, or the user's."""

INVENTED = {"recipes/gated.yaml"}

SECTIONS = "|".join(sorted({key.partition(".")[0] for key in KEYS if "." in key}))


@each_document
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        linked = document.parent / name if name else document
        assert linked.exists(), target
        assert not heading or heading in headings(linked), target


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@each_document
def test_files_that_are_named_are_there(document: Path) -> None:
    named = set(re.findall(r"`([\w./-]+\.\w+)`", document.read_text(encoding="utf-8")))
    for name in sorted(name for name in named - NOT_OURS if name.endswith(ENDS)):
        folders = (REPOSITORY, document.parent, REPOSITORY / "src")
        inside = [*(REPOSITORY / "src/rankfold").rglob(name), *(REPOSITORY / "launch").rglob(name)]
        assert inside or any((folder / name).exists() for folder in folders), name


@each_document
def test_recipe_keys_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for key in set(re.findall(rf"[`\s]((?:{SECTIONS})\.[a-z_0-9.]*[a-z_0-9])(?=[`=:])", text)):
        assert key in KEYS or key.startswith(OPEN) or Path(key).suffix in WRITTEN.union(ENDS), key


@pytest.mark.parametrize("name", ["data", "methods", "speed", "tasks", "tracking", "use"])
def test_keys_in_examples_of_recipes_exist(name: str) -> None:
    for example in blocks(REPOSITORY / f"docs/{name}.md", "yaml"):
        for key in dotted(yaml.safe_load(example)):
            assert key in KEYS or key.startswith(OPEN) or ".columns." in key, key


def dotted(values: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield before + name
        if isinstance(value, dict):
            yield from dotted(value, f"{before}{name}.")


def blocks(document: Path, *languages: str) -> list[str]:
    """The blocks of code in one of some languages, "" being that of none."""
    text = document.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [code for language, code in found if language in languages]


def commands(document: Path) -> Iterator[list[str]]:
    """The arguments of every `launch` that stands in a block of commands."""
    for block in blocks(document, "", "sh"):
        for line in block.splitlines():
            # What follows several spaces, or a hash, explains the command.
            line = re.split(r"\s+#|\s{3,}|\s&&\s|\)\"$", line.strip())[0]
            if found := re.match(r"(?:\S+=\S+ |sudo |.* \| |eval \"\$\()*(?:\S*/)?launch (.*)", line):
                yield shlex.split(found[1])


@each_document
def test_commands_are_understood(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in commands(document):
        try:
            chosen = parse_arguments(build_parser(), arguments)
        except SystemExit:
            pytest.fail(f"launch {shlex.join(arguments)}: {capsys.readouterr().err}")
        keys = {word.partition("=")[0] for word in getattr(chosen, "overrides", [])}
        assert keys <= KEYS, arguments
        recipes = {word for word in arguments if word.startswith("recipes/")} - INVENTED
        assert all((REPOSITORY / recipe).is_file() for recipe in recipes), arguments


def test_the_blocks_of_commands_are_found() -> None:
    """Else the test above could not fail."""
    found = {arguments[0] for document in DOCUMENTS for arguments in commands(document)}
    assert {"submit", "predict", "export", "cluster", "fetch"} <= found


def test_every_command_is_in_the_readme() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert set(COMMANDS) <= set(re.findall(r"`launch (\w+)", text))


def test_every_recipe_is_in_the_readme() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in (REPOSITORY / "recipes").glob("*.yaml")} == set(
        re.findall(r"\]\(recipes/(\w+\.yaml)\)", text)
    )


def test_every_file_of_data_that_ships_is_described() -> None:
    folder = REPOSITORY / "recipes/data"
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in folder.iterdir()} - {"README.md"} == set(
        re.findall(r"^\| `([\w.]+)`", text, re.M)
    )


@pytest.mark.parametrize("task", [name for name, (_, facts) in BUILT_IN.items() if facts.formats == TABLES])
def test_the_fields_of_every_task_whose_data_are_tables_are_listed(task: str) -> None:
    text = (REPOSITORY / "docs/data.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| .*`{task}`.*$", text, re.MULTILINE)
    names = {field.name for field in fields(task_class(task).example_type)} - {"id"}
    assert names <= set(re.findall(r"`(\w+)`", row))

"""A recipe file → a typed recipe that knows where each of its values came from."""

import hashlib
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from rankfold.recipe.checks import conflicts
from rankfold.recipe.entries import Entry, Problem, recipe_error
from rankfold.recipe.layers import Layers, merge
from rankfold.recipe.schema import Recipe, Section
from rankfold.recipe.yaml_reader import add_core_schema

DEFAULT = "default"
"""The source of a value that no file and no override sets."""


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with its history.

    Attributes:
        recipe: The recipe, valid in itself.
        sources: Dotted key → where its value came from: `recipes/qwen_ner.yaml:12`,
            `command line: train.learning_rate=1e-4` or `default`. One for each value, defaults too.
        files: The files that were read: the recipe, then what it extends.
        path: The recipe file.
    """

    recipe: Recipe
    sources: Mapping[str, str]
    files: tuple[Path, ...]
    path: Path


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe, lay it over what it extends, lay `key.path=value` overrides over it, and check it.

    Relative paths become absolute: those in a file are relative to it, those in an override to the
    working directory.

    Raises:
        RecipeError: Everything that is wrong with the recipe, with the place of each mistake.
    """
    layers = Layers()
    tree = layers.read(path)
    over = [layers.override(text, position) for position, text in enumerate(overrides)]
    if tree is None:
        raise recipe_error(layers.problems)
    for entry in filter(None, over):
        tree = merge(tree, entry)
    tree = _with_all_beams(_without_null_sections(tree, Recipe))
    recipe = _validated(tree, layers.problems)
    return LoadedRecipe(recipe, dict(_sources(recipe, tree)), tuple(layers.files), path)


def resolved_yaml(loaded: LoadedRecipe) -> str:
    """Write the recipe with every value spelled out; loading the text gives an equal recipe."""
    values = loaded.recipe.model_dump(mode="json")
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def recipe_sha256(recipe: Recipe) -> str:
    """Hash of the values alone: equal for equal recipes, however they were written."""
    canonical = json.dumps(recipe.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes text that a YAML 1.1 or 1.2 reader would take for something else; writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


add_core_schema(_Dumper)


def _without_null_sections(entry: Entry, section: type[BaseModel]) -> Entry:
    """Drop the sections that are null: they go back to their defaults."""
    if not isinstance(entry.value, dict):
        return entry
    kept = dict(entry.value)
    for key, field in section.model_fields.items():
        part = kept.get(key)
        if part is None:
            continue
        inner, may_be_null = _section_type(field.annotation)
        if part.value is None and inner and not may_be_null:
            del kept[key]
        elif inner and issubclass(inner, BaseModel):
            kept[key] = _without_null_sections(part, inner)
    return Entry(entry.place, kept)


def _section_type(annotation: Any) -> tuple[type[Any] | None, bool]:
    """The section or mapping type of a field, if it has one, and whether it may also be null."""
    choices = annotation.__args__ if isinstance(annotation, types.UnionType) else (annotation,)
    for choice in choices:
        if get_origin(choice) is dict or (isinstance(choice, type) and issubclass(choice, Section)):
            return get_origin(choice) or choice, types.NoneType in choices
    return None, False


def _with_all_beams(tree: Entry) -> Entry:
    """Search as many beams as sequences are wanted where nothing is said about beams or sampling."""
    evaluation = tree.part("evaluation")
    wanted = evaluation and evaluation.part("num_return_sequences")
    if not evaluation or not wanted or evaluation.part("num_beams"):
        return tree
    sample = evaluation.part("do_sample")
    if not isinstance(wanted.value, int) or wanted.value <= 1 or (sample and sample.value is True):
        return tree
    with_beams = merge(evaluation, Entry(evaluation.place, {"num_beams": wanted}))
    return tree.replaced(("evaluation",), lambda _: with_beams)


def _validated(tree: Entry, problems: list[Problem]) -> Recipe:
    try:
        # Strict as JSON: YAML's lists become tuples, and nothing else is converted.
        recipe = Recipe.model_validate_json(json.dumps(tree.plain()))
    except ValidationError as error:
        from rankfold.recipe.messages import problems_of

        # What could not be read has been reported, and stands in the tree as null.
        unreadable = {problem.location for problem in problems}
        errors = error.errors(include_url=False, include_context=False)
        found = problems_of(errors, tree)
        new = [problem for problem in found if problem.location not in unreadable]
        raise recipe_error([*problems, *new]) from None
    for conflict in conflicts(recipe):
        locations = [tuple(key.split(".")) for key in conflict.keys]
        written = [location for location in locations if tree.holds(location)]
        location = (written or locations)[0]
        problems.append(Problem(tree.nearest(location).place, location, conflict.message))
    if problems:
        raise recipe_error(problems)
    return recipe


def _sources(value: Any, entry: Entry | None, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and source of each value below `key`; a list is one value."""
    if isinstance(value, BaseModel) or (isinstance(value, dict) and value):
        for name, inner in value.items() if isinstance(value, dict) else value:
            yield from _sources(inner, entry and entry.part(name), f"{key}.{name}" if key else name)
    else:
        yield key, entry.place.source if entry else DEFAULT

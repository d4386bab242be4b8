"""From a recipe's files and overrides to one tree of entries: `extends`, merging, relative paths."""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rankfold.recipe.entries import Entry, Location, Place, Problem, shown
from rankfold.recipe.schema import HUB_PREFIX, PACKAGE_PREFIX, RUN_PREFIX
from rankfold.recipe.yaml_reader import read_yaml

MAX_BYTES = 1 << 20
"""A larger file is no recipe but, say, a checkpoint given by mistake."""

_SOURCES = ("source", "train", "validation", "test")
_DATA_PATHS: tuple[Location, ...] = tuple(("data", source, "path") for source in _SOURCES)
_MODELS: tuple[Location, ...] = (("model", "name_or_path"), ("train", "distillation", "teacher"))


@dataclass
class Layers:
    """Reads files and what they extend; collects what is wrong and which files were read."""

    problems: list[Problem] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    _merged: dict[Path, Entry | None] = field(default_factory=dict)

    def read(self, path: Path, named_at: Place | None = None, chain: tuple[Path, ...] = ()) -> Entry | None:
        """Read a recipe file laid over the files that it extends; None where nothing usable was read.

        Args:
            path: The recipe file.
            named_at: The `extends` that names it; None for the recipe itself.
            chain: The files on the way here, to notice a circle.
        """
        identity = path.resolve()
        if identity in chain:
            names = " → ".join(file_name(file) for file in (*chain[chain.index(identity) :], identity))
            self._report(named_at, path, f"goes in a circle: {names}")
            return None
        if identity not in self._merged:
            own = self._read_one(path, named_at)
            self._merged[identity] = own and self._over_parents(own, path, (*chain, identity))
        return self._merged[identity]

    def override(self, text: str, position: int) -> Entry | None:
        """Read one `key.path=value` of the command line; None if it is not one."""
        place = Place("", position, override=text)
        key, equals, value = text.partition("=")
        keys = tuple(key.strip().split("."))
        if not equals or not all(re.fullmatch(r"\w[\w-]*", step) for step in keys):
            example = "write key.path=value, such as train.learning_rate=1e-4"
            self.problems.append(Problem(place, (), f"{shown(text)} is not an override; {example}"))
            return None
        if keys == ("extends",):
            self.problems.append(Problem(place, keys, "can only be set in a file"))
            return None
        found: list[Problem] = []
        entry = read_yaml(value, lambda _: place, found)
        self.problems += [Problem(place, (*keys, *problem.location), problem.message) for problem in found]
        for step in reversed(keys):
            entry = entry and Entry(place, {step: entry})
        return entry and _with_paths(entry, Path.cwd())

    def _read_one(self, path: Path, named_at: Place | None) -> Entry | None:
        try:
            content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
        except OSError as error:
            self._report(named_at, path, _unreadable(path, error))
            return None
        if content is None:
            self._report(named_at, path, f"is larger than {MAX_BYTES} bytes, so it is no recipe")
            return None
        self.files.append(path)
        name = file_name(path)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            self.problems.append(Problem(Place(name, line), (), "is not UTF-8; save it as UTF-8"))
            return None
        entry = read_yaml(text, lambda line: Place(name, line), self.problems)
        if entry is not None and not isinstance(entry.value, dict):
            found = "is empty" if entry.value is None else f"holds {shown(entry.plain())}"
            message = f"{found}; a recipe is a mapping, starting with name: and task:"
            self.problems.append(Problem(entry.place, (), message))
            return None
        return entry and _with_paths(entry, path.parent)

    def _over_parents(self, entry: Entry, path: Path, chain: tuple[Path, ...]) -> Entry | None:
        extends = entry.part("extends")
        if extends is None:
            return entry
        layers: list[Entry] = []
        for name in self._parent_names(extends):
            parent = self.read(Path(_absolute(name, path.parent)), extends.place, chain)
            if parent is None:
                return None
            layers.append(parent)
        return functools.reduce(merge, [*layers, entry.replaced(("extends",), lambda _: None)])

    def _parent_names(self, extends: Entry) -> Sequence[str]:
        value = extends.plain()
        names = [value] if isinstance(value, str) else value or []
        if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
            return names
        message = f"must be a file name or a list of them; found {shown(value)}"
        self.problems.append(Problem(extends.place, ("extends",), message))
        return []

    def _report(self, named_at: Place | None, path: Path, message: str) -> None:
        if named_at:
            self.problems.append(Problem(named_at, ("extends",), f"{file_name(path)} {message}"))
        else:
            self.problems.append(Problem(Place(file_name(path), 0), (), message))


def merge(base: Entry, over: Entry) -> Entry:
    """Lay one entry over another: mappings are merged key by key, everything else is replaced."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    merged: Mapping[str, Entry] = base.value | {
        key: merge(base.value[key], entry) if key in base.value else entry
        for key, entry in over.value.items()
    }
    # What is missing from a section is missing from the file, even if an override touched the section.
    place = base.place if over.place.override else over.place
    return Entry(place, dict(merged))


def file_name(path: Path) -> str:
    """The file as messages show it: relative to the working directory where it lies below it."""
    absolute = Path(os.path.normpath(path.absolute()))
    working_directory = Path.cwd()
    if absolute.is_relative_to(working_directory):
        return str(absolute.relative_to(working_directory))
    return str(absolute)


def _unreadable(path: Path, error: OSError) -> str:
    if not isinstance(error, FileNotFoundError):
        return f"cannot be read: {error.strerror}"
    import difflib

    siblings = sorted(file.name for file in path.parent.glob("*.y*ml"))
    close = difflib.get_close_matches(path.name, siblings, n=1)
    return "does not exist" + (f"; did you mean {file_name(path.parent / close[0])}?" if close else "")


def _with_paths(entry: Entry, folder: Path) -> Entry:
    """Make the relative paths in a layer absolute: they are relative to `folder`."""
    mixed = entry.nearest(("data", "mixed_with")).value if entry.holds(("data", "mixed_with")) else {}
    names = mixed if isinstance(mixed, dict) else {}
    for location in (*_DATA_PATHS, *(("data", "mixed_with", name, "path") for name in names)):
        entry = entry.replaced(location, lambda path: _absolute_data_path(path, folder))
    for location in _MODELS:
        entry = entry.replaced(location, lambda name: _absolute_model_folder(name, folder))
    return entry


def _absolute_data_path(entry: Entry, folder: Path) -> Entry:
    value = entry.value
    if not isinstance(value, str) or not value:
        return entry
    if not value.startswith(HUB_PREFIX):
        return Entry(entry.place, _absolute(value, folder))
    named = _absolute_folder(value.removeprefix(HUB_PREFIX), folder)
    return Entry(entry.place, f"{HUB_PREFIX}{named}")


def _absolute_model_folder(entry: Entry, folder: Path) -> Entry:
    value = entry.value
    if not isinstance(value, str) or not value or value.startswith(PACKAGE_PREFIX):
        return entry
    if value.startswith(RUN_PREFIX):
        run = _absolute(value.removeprefix(RUN_PREFIX), folder)
        return Entry(entry.place, f"{RUN_PREFIX}{run}")
    return Entry(entry.place, _absolute_folder(value, folder))


def _absolute_folder(name: str, folder: Path) -> str:
    """A folder's name made absolute; one that may be of the hub stays as it is, unless a folder has it."""
    absolute = _absolute(name, folder) if name else name
    # Path.is_dir would raise on a name that is too long for a file.
    is_folder = name.startswith(("./", "../", "/", "~")) or os.path.isdir(absolute)  # noqa: PTH112
    return absolute if is_folder else name


def _absolute(path: str, folder: Path) -> str:
    # Path.expanduser would raise on an unknown user's home.
    return os.path.normpath(folder.absolute() / os.path.expanduser(path))  # noqa: PTH111
